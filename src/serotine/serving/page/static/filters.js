// Filters as chips, and the `where` that they come to.

const LONGEST = 48;
const MOST = 12;
// Where passages stand in their files, and what is shown as their title: no one filters on these.
const UNFILTERED = new Set(["start", "end", "title", "heading"]);

/** Chips as the server's filter, or null. */
export function where(chips) {
  const fields = new Map();
  for (const { field, operator, value } of chips) {
    if (!fields.has(field)) fields.set(field, { in: [], contains: [] });
    const said = fields.get(field);
    if (operator === "==") said.in.push(value);
    else if (operator === "contains") said.contains.push(value);
    else said[operator] = value;
  }
  const parts = [];
  for (const [field, { in: values, contains, ...bounds }] of fields) {
    // Any of the values chosen will do, whether a document has one or a list of them.
    const any = contains.map((value) => ({ [field]: { contains: value } }));
    if (values.length) any.unshift({ [field]: values.length === 1 ? values[0] : { in: values } });
    if (any.length) parts.push(any.length === 1 ? any[0] : { or: any });
    if (Object.keys(bounds).length) parts.push({ [field]: bounds });
  }
  if (!parts.length) return null;
  return parts.length === 1 ? parts[0] : { and: parts };
}

/** Metadata as (field, value, operator) that could be a chip. */
export function facts(metadata) {
  const found = [];
  for (const [field, value] of Object.entries(metadata)) {
    if (UNFILTERED.has(field)) continue;
    const list = Array.isArray(value);
    for (const each of list ? value : [value]) {
      const fits = ["string", "number", "boolean"].includes(typeof each) && String(each).length <= LONGEST;
      if (fits && each !== "") found.push({ field, value: each, operator: list ? "contains" : "==" });
    }
  }
  return found;
}

/** What has been seen of an index's fields: grows with every answer, so that a filter does not hide its own undoing. */
export class Seen {
  constructor(declared) {
    this.fields = new Map(Object.entries(declared).map(([name, type]) => [name, { name, type, values: new Map() }]));
  }

  add(hits) {
    for (const hit of hits) {
      for (const { field, value, operator } of facts(hit.metadata)) {
        if (!this.fields.has(field)) this.fields.set(field, { name: field, type: typeof value, values: new Map() });
        const values = this.fields.get(field).values;
        const key = `${typeof value} ${value}`;
        const known = values.get(key);
        values.set(key, { value, operator, count: known ? known.count + 1 : 1 });
      }
    }
  }

  /** Fields for the page, each with its commonest values, numbers in order. */
  told() {
    return [...this.fields.values()]
      .map(({ name, type, values }) => {
        const common = [...values.values()].sort((one, other) => other.count - one.count).slice(0, MOST);
        const numeric = type === "int" || type === "float" || type === "number";
        if (numeric) common.sort((one, other) => one.value - other.value);
        return { name, type, numeric, typed: type === "str" || type === "string", values: common };
      })
      .filter((field) => field.values.length > 0 || field.type !== "boolean");
  }
}

/** A chip in words. */
export function chipText({ field, operator, value }) {
  const sign = { "==": ":", contains: ":", ">=": " ≥", "<=": " ≤" }[operator];
  return `${field}${sign} ${value}`;
}
