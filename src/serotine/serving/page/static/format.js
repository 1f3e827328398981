// Search statistics as text: the plan, counts and times.

const PLANS = {
  flat: "every document's vectors were scored",
  scan: "every document's centroids were scored, then the best documents closely",
  probe: "the posting lists of the nearest centroids were read, then the best documents scored closely",
  direct: "the filter left few documents; their codes were scored at once",
  bounds: "documents were scored in the order of their upper bounds, until none could reach the last hit",
  bm25: "documents were ranked by the words they share with the query",
};
const BY = { centroids: "centroids", residuals: "residuals", codes: "codes", vectors: "vectors", bm25: "words" };
const STAGES = {
  encode: "encode the query",
  filter: "filter",
  tables: "tables",
  centroids: "centroids",
  residuals: "residuals",
  codes: "codes",
  vectors: "vectors",
  bounds: "bounds",
  fetch: "fetch texts",
};

export const number = (value) => value.toLocaleString("en-GB");
export const passages = (count) => `${number(count)} passage${count === 1 ? "" : "s"}`;
export const milliseconds = (value) => `${value < 9.95 ? value.toFixed(1) : number(Math.round(value))} ms`;

/**
 * Return what shows the scores of a hit of a search by `plan`: its MaxSim per query token, the scale of `min_score`, if
 * it was ranked by that; otherwise the score by words or by both, and that per token beside it. A dash in place of
 * MaxSim where a warning says that the encoder knows too little for it to mean something.
 */
export function scores(plan, warnings) {
  const isUnknown = warnings.some(({ kind }) => kind === "UnknownTextWarning");
  return ({ score, score_per_token: perToken }) => {
    if (isUnknown && perToken !== null && !plan.includes("bm25")) {
      return { score: "-", perToken: "", scoreTitle: "MaxSim says little: see the warning" };
    }
    const digits = perToken === null || isUnknown ? "" : perToken.toFixed(2);
    if (digits && !plan.includes("bm25")) {
      return { score: digits, perToken: "per token", scoreTitle: `MaxSim ${score.toFixed(2)} over the query's tokens` };
    }
    const tiny = score > 0 && score < 0.0001;
    const shown = tiny ? "<0.0001" : score === null ? "" : score.toFixed(score < 1 ? 4 : 2);
    return { score: shown, perToken: digits && `${digits} per token`, scoreTitle: `Score ${shown}` };
  };
}

/** Return the plan, then how many documents each stage scored. */
export function plan(stats) {
  const plans = stats.plan.split(" + ").map((name) => PLANS[name] || name);
  const used = Object.entries(BY).filter(([stage]) => stats.counts[stage]);
  const counted = used.map(([stage, by]) => number(stats.counts[stage]) + (used.length > 1 ? ` by their ${by}` : ""));
  const sentence = `${plans.join("; ")}${counted.length ? `: ${counted.join(", ")}` : ""}.`;
  return sentence[0].toUpperCase() + sentence.slice(1);
}

/** Return the stages with their time and share of the slowest; "search" excludes encoding, filter and fetching. */
export function stages(times) {
  const listed = Object.entries(times).filter(([name, value]) => name !== "search" && value > 0);
  const outside = ["encode", "filter", "fetch"];
  const accounted = listed.reduce((sum, [name, value]) => sum + (outside.includes(name) ? 0 : value), 0);
  const rest = (times.search || 0) - accounted;
  if (rest > 0.05) listed.push(["other", rest]);
  const slowest = Math.max(...listed.map(([, value]) => value), 0.001);
  const order = Object.keys(STAGES);
  const rank = ([name]) => (order.includes(name) ? order.indexOf(name) : order.length);
  return listed
    .sort((a, b) => rank(a) - rank(b))
    .map(([name, value]) => ({ name: STAGES[name] || name, time: milliseconds(value), share: value / slowest }));
}
