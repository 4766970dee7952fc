// Bundles the page's script, style sheet and fonts into the Python package, and writes the licences
// of everything that ended up in them. Two runs on the same package.json give the same bytes.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { copyFile, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "../../tams_gql/http/explorer/static");
const manifest = readJson(join(here, "package.json"));

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

// GraphiQL embeds 28 Roboto faces and 6 Fira Code faces as base64 text; explorer.css brings the few
// that are needed as files, which the Content-Security-Policy then allows without `data:` fonts.
const withoutEmbeddedFonts = {
  name: "without-embedded-fonts",
  setup(setup) {
    setup.onLoad({ filter: /[\\/]graphiql[\\/]dist[\\/]style\.css$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replace(/@font-face\s*\{[^}]*\}/g, ""),
      loader: "css",
    }));
  },
};

async function bundle() {
  const result = await build({
    absWorkingDir: here,
    entryPoints: ["explorer.jsx"],
    entryNames: "[name]",
    assetNames: "fonts/[name]",
    outdir: target,
    bundle: true,
    minify: true,
    metafile: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    jsx: "automatic",
    legalComments: "none", // collected in THIRD_PARTY_LICENSES.txt instead
    loader: { ".woff2": "file" },
    define: {
      "process.env.NODE_ENV": '"production"',
      "process.env.USE_IMPORT": '"true"', // the toolkit's own switch between import and require
      "globalThis.process": "true", // graphql-js asks for it before it looks at NODE_ENV
    },
    banner: { js: "/*! licences: THIRD_PARTY_LICENSES.txt */" },
    plugins: [withoutEmbeddedFonts],
    logLevel: "warning",
  });
  return Object.keys(result.metafile.inputs);
}

// "node_modules/a/node_modules/@b/c/d.js" -> "node_modules/a/node_modules/@b/c"
function packageFolder(input) {
  return input.match(/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
}

function bundledPackages(inputs) {
  const folders = new Set(inputs.map(packageFolder).filter(Boolean));
  return [...folders]
    .map((folder) => ({ folder: join(here, folder), ...readJson(join(here, folder, "package.json")) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

// Without a lock file, package.json itself has to name every version that ends up in the bundle.
function assertPinned(packages) {
  const pins = { ...manifest.overrides, ...manifest.dependencies };
  const loose = packages.filter(({ name, version }) => pins[name] !== version);
  if (loose.length > 0) {
    const lines = loose.map(({ name, version }) => `  "${name}": "${version}"`);
    throw new Error(`pin these in package.json (overrides):\n${lines.join(",\n")}`);
  }
  const bundled = new Set(packages.map(({ name }) => name));
  const unused = Object.keys(pins).filter((name) => !bundled.has(name));
  if (unused.length > 0) {
    throw new Error(`pinned in package.json but not bundled: ${unused.join(", ")}`);
  }
}

function licenceText({ folder, name, license }) {
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying)/i.test(file)).sort();
  if (files.length > 0) {
    return files.map((file) => readFileSync(join(folder, file), "utf8").trim()).join("\n\n");
  }
  const substitute = join(here, "licences", `${manifest.licenceTexts[name] ?? license}.txt`);
  return readFileSync(substitute, "utf8").trim();
}

function licences(packages) {
  const rule = "-".repeat(80);
  const entries = packages.map((entry) => {
    const heading = `${entry.name} ${entry.version} (${entry.license})`;
    return `${rule}\n${heading}\n${rule}\n\n${licenceText(entry)}\n`;
  });
  const intro = "The files in this folder contain the following third-party software and fonts.\n";
  return `${[intro, ...entries].join("\n").replace(/\r\n/g, "\n")}`;
}

rmSync(target, { recursive: true, force: true });
const packages = bundledPackages(await bundle());
assertPinned(packages);
writeFileSync(join(target, "THIRD_PARTY_LICENSES.txt"), licences(packages));
await copyFile(join(here, "favicon.svg"), join(target, "favicon.svg"));
