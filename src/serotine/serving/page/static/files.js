// Chosen or dropped files, folders included, each with its relative path.

/** Return whether a file, or a folder that it is in, is hidden; such files are not sent. */
export const isHidden = (path) => path.split("/").some((name) => name.startsWith("."));

/** Return the files of an <input>. */
export const chosen = (list) => [...list].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

/** Return the files of a drop. The entries must be read before the first await: afterwards the list is empty. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.length) return chosen(transfer.files);
  return (await Promise.all(entries.map((entry) => walk(entry)))).flat();
}

async function walk(entry) {
  // A hidden folder counts as one: what is in it is not looked at.
  if (entry.name.startsWith(".")) return [{ file: null, path: entry.fullPath.replace(/^\//, "") }];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) break;
    for (const child of batch) files.push(...(await walk(child)));
  }
  return files;
}
