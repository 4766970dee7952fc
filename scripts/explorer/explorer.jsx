// The page's only script: GraphiQL on the page's own server, set up by the JSON block in the HTML.
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";
import "./explorer.css";
import { withoutHeaders } from "./storage.js";

const config = JSON.parse(document.getElementById("explorer-config").textContent);

// Same host and port for both transports: the page never talks to anyone else.
const endpoint = new URL(config.graphqlPath, window.location.origin);
const subscriptionEndpoint = new URL(endpoint);
subscriptionEndpoint.protocol = endpoint.protocol === "https:" ? "wss:" : "ws:";

// With a URL instead of a ready client, each subscription sends the headers of its tab as
// connection parameters, so credentials typed in the headers editor work for both transports.
const fetcher = createGraphiQLFetcher({
  url: endpoint.href,
  subscriptionUrl: subscriptionEndpoint.href,
  headers: { Accept: "application/json" },
  enableIncrementalDelivery: false,
});

const defaultTabs = config.defaultQueries.map((query) => ({ query }));

createRoot(document.getElementById("explorer")).render(
  // Headers may hold credentials: they stay in memory and never reach the browser's storage.
  <GraphiQL
    fetcher={fetcher}
    defaultTabs={defaultTabs.length > 0 ? defaultTabs : undefined}
    defaultQuery="" // of a tab that the reader adds
    shouldPersistHeaders={false}
    storage={withoutHeaders(window.localStorage)}
    inputValueDeprecation={true}
    schemaDescription={true}
  >
    <GraphiQL.Logo>
      <span className="explorer-title">{config.title}</span>
    </GraphiQL.Logo>
  </GraphiQL>,
);
