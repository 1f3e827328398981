// The server's HTTP API; errors carry one line for people.

const TOKEN = "serotine.token";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let token = sessionStorage.getItem(TOKEN) || "";

/** Store a token for this tab only. */
export function useToken(value) {
  token = value.trim();
  sessionStorage.setItem(TOKEN, token);
}

function headers(more = {}) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

async function request(path, { method = "GET", body, signal } = {}) {
  const options = { method, signal, headers: headers() };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not respond. Check that serotine serve is still running.");
  }
  return parse(response.status, await response.text(), response.headers.get("Retry-After"));
}

function parse(status, text, retry) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Perhaps a proxy's error page: the status says enough.
  }
  if (status >= 200 && status < 300 && body !== null) return body;
  const message = (body && body.error && body.error.message) || `The server responded with status ${status}.`;
  const error = new ApiError(status, message);
  error.retryAfter = Number(retry) || 1;
  throw error;
}

const indexPath = (index) => `v1/indexes/${encodeURIComponent(index)}`;

export const indexes = () => request("v1/indexes").then((body) => body.indexes);
export const search = (body, signal) => request("v1/search", { method: "POST", body, signal });
export const job = (id) => request(`v1/jobs/${encodeURIComponent(id)}`);

export const documentOf = (index, id) => request(`${indexPath(index)}/documents/${encodeURIComponent(id)}`);

/** Return the metadata of some documents of an index. */
export async function sampleMetadata(index, count) {
  const { ids } = await request(`${indexPath(index)}/ids?limit=${count}`);
  const body = { ids };
  const { documents } = await request(`${indexPath(index)}/documents/fetch`, { method: "POST", body });
  return documents.map((document) => document.metadata);
}

/** Send files with their relative paths; `onProgress` gets the fraction sent, which fetch cannot report. */
export function upload(index, files, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const { file, path } of files) form.append("files", file, path);
    const xhr = new XMLHttpRequest();
    xhr.open("POST", `${indexPath(index)}/files`);
    for (const [name, value] of Object.entries(headers())) xhr.setRequestHeader(name, value);
    xhr.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    xhr.onload = () => {
      try {
        resolve(parse(xhr.status, xhr.responseText, xhr.getResponseHeader("Retry-After")).job);
      } catch (error) {
        reject(error);
      }
    };
    xhr.onerror = () => reject(new ApiError(0, "The connection was lost while sending files; send them again."));
    xhr.onabort = () => reject(new ApiError(0, "Stopped; the files being sent are not indexed."));
    signal.addEventListener("abort", () => xhr.abort());
    xhr.send(form);
  });
}
