// Reads one JSON line for each request that was delivered, and says whether the
// published library accepts it, and whether it refuses a changed body.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

const [whsec] = process.argv.slice(2);
const webhook = new Webhook(whsec);

function accepts(body, headers) {
  try {
    webhook.verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { headers, body_base64 } = JSON.parse(line);
  const body = Buffer.from(body_base64, "base64").toString("utf8");
  console.log(JSON.stringify({ accepted: accepts(body, headers), accepts_changed: accepts(body + " ", headers) }));
}
