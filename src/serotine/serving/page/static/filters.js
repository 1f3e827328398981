// Filters as chips, and the `where` they build.

const MAX_VALUE_LENGTH = 48;
const MAX_VALUES = 12;
// Positions in files, and titles: useless as filters.
const UNFILTERED = new Set(
  ["start", "end", "title", "heading", "symbol", "document"].concat(
    ["page", "line", "slide", "cell"].flatMap((name) => [name, `last_${name}`]),
  ),
);

/** Return chips as the server's filter, or null. */
export function where(chips) {
  const fields = new Map();
  for (const { field, operator, value } of chips) {
    if (!fields.has(field)) fields.set(field, { in: [], contains: [] });
    const conditions = fields.get(field);
    if (operator === "==") conditions.in.push(value);
    else if (operator === "contains") conditions.contains.push(value);
    else conditions[operator] = value;
  }
  const conjuncts = [];
  for (const [field, { in: values, contains, ...bounds }] of fields) {
    // Any of the chosen values matches, whether a document has one value or a list.
    const any = contains.map((value) => ({ [field]: { contains: value } }));
    if (values.length) any.unshift({ [field]: values.length === 1 ? values[0] : { in: values } });
    if (any.length) conjuncts.push(any.length === 1 ? any[0] : { or: any });
    if (Object.keys(bounds).length) conjuncts.push({ [field]: bounds });
  }
  if (!conjuncts.length) return null;
  return conjuncts.length === 1 ? conjuncts[0] : { and: conjuncts };
}

/** Return the metadata that a chip can filter by, as {field, value, operator}. */
export function facts(metadata) {
  const filterable = [];
  for (const [field, value] of Object.entries(metadata)) {
    if (UNFILTERED.has(field)) continue;
    const list = Array.isArray(value);
    for (const item of list ? value : [value]) {
      const fits = ["string", "number", "boolean"].includes(typeof item) && String(item).length <= MAX_VALUE_LENGTH;
      if (fits && item !== "") filterable.push({ field, value: item, operator: list ? "contains" : "==" });
    }
  }
  return filterable;
}

/** The field values of an index, collected from all results, so that a filter does not hide the other values. */
export class FieldValues {
  constructor(declared) {
    this.fields = new Map(Object.entries(declared).map(([name, type]) => [name, { name, type, values: new Map() }]));
  }

  add(hits) {
    for (const hit of hits) {
      for (const { field, value, operator } of facts(hit.metadata)) {
        if (!this.fields.has(field)) this.fields.set(field, { name: field, type: typeof value, values: new Map() });
        const values = this.fields.get(field).values;
        const key = `${typeof value} ${value}`;
        const previous = values.get(key);
        values.set(key, { value, operator, count: previous ? previous.count + 1 : 1 });
      }
    }
  }

  /** Return the fields for the page, each with its most common values, numbers in order. */
  list() {
    return [...this.fields.values()]
      .map(({ name, type, values }) => {
        const common = [...values.values()].sort((a, b) => b.count - a.count).slice(0, MAX_VALUES);
        const numeric = type === "int" || type === "float" || type === "number";
        if (numeric) common.sort((a, b) => a.value - b.value);
        return { name, type, numeric, typed: type === "str" || type === "string", values: common };
      })
      .filter((field) => field.values.length > 0 || field.type !== "boolean");
  }
}

/** Return a chip's text. */
export function chipText({ field, operator, value }) {
  const sign = { "==": ":", contains: ":", ">=": " ≥", "<=": " ≤" }[operator];
  return `${field}${sign} ${value}`;
}
