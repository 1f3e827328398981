// The entry for all indexes that share an encoder, and what searches of several indexes have in common.

export const EVERY = "*";

/** Return the indexes, with an entry for all that share an encoder in front where there are several such. */
export function withEvery(indexes) {
  const listed = indexes.map((index) => ({ ...index, members: null }));
  const byEncoder = Map.groupBy
    ? Map.groupBy(listed, (index) => index.encoder)
    : listed.reduce((map, index) => map.set(index.encoder, [...(map.get(index.encoder) || []), index]), new Map());
  byEncoder.delete(null);
  const members = [...byEncoder.values()].sort((a, b) => b.length - a.length)[0] || [];
  if (members.length < 2) return listed;
  const every = {
    name: EVERY,
    label: members.length === listed.length ? "All indexes" : `${members.length} indexes with ${members[0].encoder}`,
    members: members.map((index) => index.name),
    documents: members.reduce((sum, index) => sum + index.documents, 0),
    encoder: members[0].encoder,
    filterable: Object.assign({}, ...members.map((index) => index.filterable || {})),
    // Files go to one index.
    writable: false,
  };
  return [...listed, every];
}

/** Return the statistics of the searches of several indexes as one: their plans, and counts and times added up. */
export function statistics(searched) {
  const stats = searched.map((item) => item.stats);
  return {
    plan: [...new Set(stats.map(({ plan }) => plan))].join(" + "),
    counts: sums(stats.map(({ counts }) => counts)),
    milliseconds: sums(stats.map(({ milliseconds }) => milliseconds)),
  };
}

/** Return what is proved of several indexes together, or null where nothing was to be proved. */
export function certificate(searched) {
  const certificates = searched.map((item) => item.certificate);
  if (!certificates.every(Boolean)) return null;
  const named = (statement, i) => (searched.length > 1 ? `${searched[i].index}: ${statement}` : statement);
  return {
    exact: certificates.every(({ exact }) => exact),
    statement: certificates.map(({ statement }, i) => named(statement, i)).join(" "),
  };
}

function sums(records) {
  const total = {};
  for (const record of records) for (const [key, value] of Object.entries(record)) total[key] = (total[key] || 0) + value;
  return total;
}
