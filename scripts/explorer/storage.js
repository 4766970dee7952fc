// What GraphiQL may keep in the browser. Its history of queries keeps the headers of each, whatever
// `shouldPersistHeaders` says, so they are taken out of everything on its way into the storage.

const NAMESPACE = "graphiql:";

export function withoutHeaders(storage) {
  const ours = () => Object.keys(storage).filter((key) => key.startsWith(NAMESPACE));
  const setItem = (key, value) => {
    if (key !== `${NAMESPACE}headers`) storage.setItem(key, cleaned(value));
  };
  // What an earlier version of the page left behind goes as well.
  storage.removeItem(`${NAMESPACE}headers`);
  ours().forEach((key) => setItem(key, storage.getItem(key)));
  return {
    getItem: (key) => storage.getItem(key),
    setItem,
    removeItem: (key) => storage.removeItem(key),
    clear: () => ours().forEach((key) => storage.removeItem(key)),
    get length() {
      return ours().length;
    },
  };
}

// Lists of tabs and queries are JSON; everything else that GraphiQL keeps is plain text or a number.
function cleaned(value) {
  let content;
  try {
    content = JSON.parse(value);
  } catch {
    return value;
  }
  if (content === null || typeof content !== "object") return value;
  return JSON.stringify(content, (key, held) => (key === "headers" ? undefined : held));
}
