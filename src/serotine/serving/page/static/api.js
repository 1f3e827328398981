// The server's HTTP surface, as promises that fail with one line for people.

const TOKEN = "serotine.token";

export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let token = sessionStorage.getItem(TOKEN) || "";

/** Remembers a token for this tab only. */
export function useToken(value) {
  token = value.trim();
  sessionStorage.setItem(TOKEN, token);
}

function headers(more = {}) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function ask(path, { method = "GET", body, signal } = {}) {
  const options = { method, signal, headers: headers() };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "The server does not answer. See whether serotine serve is still running.");
  }
  return read(answer.status, await answer.text(), answer.headers.get("Retry-After"));
}

function read(status, text, retry) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy's own page, perhaps: the status says what there is to say.
  }
  if (status >= 200 && status < 300 && body !== null) return body;
  const failure = new Failure(status, (body && body.error && body.error.message) || `The server answered ${status}.`);
  failure.retryAfter = Number(retry) || 1;
  throw failure;
}

const named = (index) => `v1/indexes/${encodeURIComponent(index)}`;

export const indexes = () => ask("v1/indexes").then((body) => body.indexes);
export const search = (index, body, signal) => ask(`${named(index)}/search`, { method: "POST", body, signal });
export const job = (id) => ask(`v1/jobs/${encodeURIComponent(id)}`);

/** Sends files with their relative paths; `onProgress` hears the share that has been sent. fetch cannot tell that. */
export function upload(index, files, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const { file, path } of files) form.append("files", file, path);
    const request = new XMLHttpRequest();
    request.open("POST", `${named(index)}/files`);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      try {
        resolve(read(request.status, request.responseText, request.getResponseHeader("Retry-After")).job);
      } catch (failure) {
        reject(failure);
      }
    };
    request.onerror = () => reject(new Failure(0, "The server went away while files were being sent; send them again."));
    request.onabort = () => reject(new Failure(0, "Stopped; what was being sent is not indexed."));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
