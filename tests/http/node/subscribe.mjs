// Runs a query, a mutation and a subscription with a standard client; one line of JSON for each
// response. The subscription ends after the number of events that is given.
import { createClient as overSse } from "graphql-sse";
import { createClient as overWebSocket } from "graphql-ws";
import WebSocket from "ws";

const [transport, url, flowId, count] = process.argv.slice(2);
const client =
  transport === "sse"
    ? overSse({ url, fetchFn: fetch, retryAttempts: 0 })
    : overWebSocket({ url, webSocketImpl: WebSocket, retryAttempts: 0 });

const say = (value) => console.log(JSON.stringify(value));
const label = `By ${transport}`;

for (const query of [
  "{ __typename }",
  `mutation { patchFlow(input: { id: "${flowId}", label: "${label}" }) { flow { label } } }`,
  "{ nothing }",
]) {
  try {
    for await (const result of client.iterate({ query })) say(result);
  } catch (errors) {
    say({ errors });
  }
}

const added = client.iterate({
  query: "subscription ($flow: ID!) { segmentsAdded(flowIds: [$flow]) { segments { timerange } } }",
  variables: { flow: flowId },
});
let left = Number(count);
for await (const result of added) {
  say(result);
  if (--left === 0) break;
}
await client.dispose();
