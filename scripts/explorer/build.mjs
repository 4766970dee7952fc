// Bundles the page's script, style sheet and fonts into the Python package, and writes the licences
// of everything that ended up in them. Two runs on the same package.json give the same bytes.
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
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
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]graphiql[\\/]dist[\\/]style\.css$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replace(/@font-face\s*\{[^}]*\}/g, ""),
      loader: "css",
    }));
  },
};

// graphql-js decides at run time, from a Node global, whether to check for a second copy of itself;
// a browser has no such global and would always pay for the check. This is its production branch.
const productionInstanceOf = {
  name: "production-instance-of",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]graphql[\\/]jsutils[\\/]instanceOf\.mjs$/ }, () => ({
      contents: "export const instanceOf = (value, constructor) => value instanceof constructor;",
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
    },
    banner: { js: "/*! licences: THIRD_PARTY_LICENSES.txt */" },
    plugins: [withoutEmbeddedFonts, productionInstanceOf],
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

// Packages published without their licence file: the text comes from a package of the same project,
// or (toggle-selection) of the same author under the same licence.
const licenceTextOf = {
  "@graphiql/plugin-doc-explorer": "graphiql",
  "@graphiql/plugin-history": "graphiql",
  "react-compiler-runtime": "react",
  "react-remove-scroll-bar": "react-remove-scroll",
  "toggle-selection": "copy-to-clipboard",
};

function licenceText({ folder, name }) {
  const source = licenceTextOf[name] ? join(here, "node_modules", licenceTextOf[name]) : folder;
  const files = readdirSync(source).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  if (files.length === 0) {
    throw new Error(`${name} has no licence file: name a package of the same project for it`);
  }
  const texts = files.sort().map((file) => readFileSync(join(source, file), "utf8"));
  return texts.map((text) => text.replace(/\r\n/g, "\n").trim()).join("\n\n");
}

function licences(packages) {
  const packagesByText = new Map();
  for (const entry of packages) {
    const text = licenceText(entry);
    packagesByText.set(text, [...(packagesByText.get(text) ?? []), entry]);
  }
  const rule = "-".repeat(80);
  const sections = [...packagesByText].map(([text, entries]) => {
    const heading = entries.map(({ name, version, license }) => `${name} ${version} (${license})`);
    return `${rule}\n${heading.join("\n")}\n${rule}\n\n${text}\n`;
  });
  const intro = "The files in this folder contain the following third-party software and fonts.\n";
  return [intro, ...sections].join("\n");
}

rmSync(target, { recursive: true, force: true });
const packages = bundledPackages(await bundle());
assertPinned(packages);
writeFileSync(join(target, "THIRD_PARTY_LICENSES.txt"), licences(packages));
copyFileSync(join(here, "favicon.svg"), join(target, "favicon.svg"));
