// How an answer was found, in words and in milliseconds.

const PLANS = {
  flat: "every document's vectors were scored",
  scan: "every document's centroids were looked at, then the best documents closely",
  probe: "the lists of the nearest centroids were followed, then the best documents looked at closely",
  direct: "the filter left few documents; their codes were scored at once",
  bounds: "every document was bounded from above, and scored until none left could reach the last hit",
  bm25: "documents were ranked by the words they share with the question",
};
const BY = { centroids: "centroids", residuals: "residuals", codes: "codes", vectors: "vectors", bm25: "words" };
const STAGES = {
  encode: "encode the question",
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
export const milliseconds = (value) => `${value < 9.95 ? value.toFixed(1) : number(Math.round(value))} ms`;

/** The plan, then how many documents each stage scored. */
export function plan(stats) {
  const plans = stats.plan.split(" + ").map((name) => PLANS[name] || name);
  const used = Object.entries(BY).filter(([stage]) => stats.counts[stage]);
  const counted = used.map(([stage, by]) => number(stats.counts[stage]) + (used.length > 1 ? ` by their ${by}` : ""));
  const told = `${plans.join("; ")}${counted.length ? `: ${counted.join(", ")}` : ""}.`;
  return told[0].toUpperCase() + told.slice(1);
}

/** The stages with their milliseconds and their share of the longest; "search" is all but encoding, filter and fetching. */
export function stages(times) {
  const listed = Object.entries(times).filter(([name, value]) => name !== "search" && value > 0);
  const outside = ["encode", "filter", "fetch"];
  const known = listed.reduce((sum, [name, value]) => sum + (outside.includes(name) ? 0 : value), 0);
  const rest = (times.search || 0) - known;
  if (rest > 0.05) listed.push(["the rest of the search", rest]);
  const longest = Math.max(...listed.map(([, value]) => value), 0.001);
  const order = Object.keys(STAGES);
  const place = ([name]) => (order.includes(name) ? order.indexOf(name) : order.length);
  return listed
    .sort((one, other) => place(one) - place(other))
    .map(([name, value]) => ({ name: STAGES[name] || name, told: milliseconds(value), share: value / longest }));
}
