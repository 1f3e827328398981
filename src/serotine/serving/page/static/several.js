// A search over several indexes: one request to each, and their hits in one list.

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

/**
 * Return the responses of several indexes as one. Scores of MaxSim and fused ones are comparable; those by words depend
 * on the index, and become 1 / (60 + rank), as in `merge_hits`.
 */
export function merged(names, responses, k) {
  const kinds = new Set(responses.map(({ stats }) => kindOf(stats.plan)));
  const byRanks = responses.length > 1 && (kinds.size > 1 || kinds.has("bm25"));
  const score = (hit, rank) => (byRanks ? 1 / (61 + rank) : hit.score);
  const lists = responses.map(({ hits }, i) =>
    hits.map((hit, rank) => ({ ...hit, index: names[i], score: score(hit, rank) })),
  );
  if (responses.length === 1) return { ...responses[0], hits: lists[0] };
  const byScore = (a, b) =>
    (b.score ?? -Infinity) - (a.score ?? -Infinity) || (b.score_per_token ?? 0) - (a.score_per_token ?? 0);
  const hits = lists.flat().sort(byScore);
  const certificates = responses.map(({ certificate }, i) => certificate && { ...certificate, name: names[i] });
  return {
    hits: hits.slice(0, k),
    stats: {
      plan: [...new Set(responses.map(({ stats }) => stats.plan))].join(" + "),
      counts: sums(responses.map(({ stats }) => stats.counts)),
      milliseconds: sums(responses.map(({ stats }) => stats.milliseconds)),
    },
    certificate: certificates.every(Boolean)
      ? {
          exact: certificates.every(({ exact }) => exact),
          statement: certificates.map(({ name, statement }) => `${name}: ${statement}`).join(" "),
        }
      : null,
    warnings: uniqueWarnings(responses),
    milliseconds: { total: Math.max(...responses.map(({ milliseconds }) => milliseconds.total)) },
  };
}

/** Return the warnings of several responses, equal ones once; matches are weak only where those of every index are. */
function uniqueWarnings(responses) {
  const isWeak = ({ kind }) => kind === "WeakMatchWarning";
  const found = responses.filter(({ hits }) => hits.length);
  const allWeak = found.every(({ warnings }) => warnings.some(isWeak));
  const shown = responses.flatMap(({ warnings }) => warnings.filter((warning) => allWeak || !isWeak(warning)));
  const byText = new Map(shown.map((warning) => [warning.message, warning]));
  return [...byText.values()];
}

function kindOf(plan) {
  if (plan === "bm25") return "bm25";
  return plan.includes("bm25") ? "hybrid" : "late";
}

function sums(records) {
  const total = {};
  for (const record of records) for (const [key, value] of Object.entries(record)) total[key] = (total[key] || 0) + value;
  return total;
}
