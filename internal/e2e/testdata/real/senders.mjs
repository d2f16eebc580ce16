// Sends webhooks signed by the providers' own libraries to the base URL given,
// and prints one JSON line for each: what was sent and what came back.
import { createHash, createHmac, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { sign, verify } from "@octokit/webhooks-methods";
import Stripe from "stripe";
import twilio from "twilio";
import { Webhook } from "standardwebhooks";
import bolt from "@slack/bolt";

const require = createRequire(import.meta.url);
const [base, publicURL, secret, whsec] = process.argv.slice(2);

async function send(source, path, headers, body, more = {}) {
  const response = await fetch(base + path, { method: "POST", headers, body });
  console.log(JSON.stringify({
    source, status: response.status, answer: await response.text(),
    sha256: createHash("sha256").update(body).digest("hex"), ...more,
  }));
}

async function github(name, payload) {
  const body = JSON.stringify(payload, null, 2); // pretty on purpose: the bytes count, not the meaning
  const signature = await sign(secret, body);
  if (!(await verify(secret, body, signature))) throw new Error("octokit does not verify its own signature");
  const id = randomUUID();
  await send("github", "/in/github", {
    "content-type": "application/json", "x-github-event": name, "x-github-delivery": id,
    "x-hub-signature-256": signature,
  }, body, { id, type: name });
}

for (const set of ["api.github.com", "ghes-31", "ghes-35"]) {
  for (const event of require(`@octokit/webhooks-examples/${set}/index.json`)) {
    for (const example of event.examples) await github(event.name, example.payload ?? example);
  }
}

{
  const id = "evt_" + randomUUID().replaceAll("-", "");
  const payload = JSON.stringify({ id, object: "event", type: "invoice.paid", data: { object: { amount: 1050 } } }, null, 2);
  const header = Stripe.webhooks.generateTestHeaderString({ payload, secret });
  await send("stripe", "/in/stripe", { "content-type": "application/json", "stripe-signature": header }, payload,
    { id, type: "invoice.paid" });
  const old = Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: Math.floor(Date.now() / 1000) - 3600 });
  await send("stripe", "/in/stripe", { "content-type": "application/json", "stripe-signature": old }, payload,
    { refused: "stale_timestamp" });
}

{
  const params = { MessageSid: "SM1", From: "+15551234567", Body: "hello & good bye é", SmsStatus: "received", Media: ["b", "a"] };
  const body = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) for (const x of [v].flat()) body.append(k, x);
  const signature = twilio.getExpectedTwilioSignature(secret, publicURL + "/in/twilio?x=1", params);
  const headers = { "content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature };
  await send("twilio", "/in/twilio?x=1", headers, body.toString(), { type: "twilio-webhook-lambda" });
  await send("twilio", "/in/twilio?x=2", headers, body.toString(), { refused: "bad_signature" });

  const json = JSON.stringify([{ specversion: "1.0", type: "com.twilio.test", id: "EZ1", data: {} }]);
  const path = "/in/twilio?bodySHA256=" + twilio.getExpectedBodyHash(json);
  await send("twilio", path, {
    "content-type": "application/json",
    "x-twilio-signature": twilio.getExpectedTwilioSignature(secret, publicURL + path, {}),
  }, json, { type: "twilio-webhook-lambda" });
}

{
  const id = "msg_" + randomUUID();
  const body = JSON.stringify({ type: "user.created", data: { id: 1 } });
  const at = new Date();
  const signature = new Webhook(whsec).sign(id, at, body);
  await send("standard", "/in/standard", {
    "content-type": "application/json", "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)), "webhook-signature": signature,
  }, body, { id, type: "user.created" });
}

// Slack publishes no signer: signed by hand, with Bolt's verifier as the oracle.
async function slack(body, more) {
  const at = Math.floor(Date.now() / 1000);
  const signature = "v0=" + createHmac("sha256", secret).update(`v0:${at}:${body}`).digest("hex");
  const headers = { "x-slack-signature": signature, "x-slack-request-timestamp": String(at) };
  bolt.verifySlackRequest({ signingSecret: secret, body, headers: {
    "x-slack-signature": signature, "x-slack-request-timestamp": at } });
  await send("slack", "/in/slack", { "content-type": "application/json", ...headers }, body, more);
}
await slack(JSON.stringify({ type: "url_verification", challenge: "c4ll3ng3", token: "x" }), { handshake: "c4ll3ng3" });
await slack(JSON.stringify({ type: "event_callback", event_id: "Ev1", event: { type: "app_mention", text: "hi" } }),
  { id: "Ev1", type: "app_mention" });
