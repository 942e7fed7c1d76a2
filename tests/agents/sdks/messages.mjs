// A conversation through `@anthropic-ai/sdk`. Takes {url, key, model, stream, failing} as JSON, prints what came of it as JSON.
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";

const { url, key, model, stream, failing } = JSON.parse(process.argv[2]);
const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const weather = `[sim: tools=get_weather,get_time args='{"city":"Oslo"}']`;
const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = ["get_weather", "get_time"].map((name) => ({ name, input_schema }));
const results = { get_weather: "snow all day", get_time: "half past nine" };

async function ask(messages, options = {}) {
  const body = { model, messages, max_tokens: 2000, ...options };
  if (!stream) return await client.messages.create(body);
  return await client.messages.stream(body).finalMessage();
}

function told({ model, content, stop_reason }) {
  const all = (type, field) => content.filter((block) => block.type === type).map((block) => block[field]).join("");
  const calls = content.filter(({ type }) => type === "tool_use").map(({ id, name, input }) => ({ id, name, input }));
  return { model, text: all("text", "text"), thinking: all("thinking", "thinking"), calls, stop: stop_reason };
}

async function failure(asking) {
  try {
    return { answered: told(await asking) };
  } catch (error) {
    return { error: error.constructor.name, status: error.status, known: error instanceof Anthropic.AnthropicError };
  }
}

const user = (content) => ({ role: "user", content });

async function converse() {
  const said = {};
  said.text = told(await ask([user("hello there")]));

  const thinking = { tools, thinking: { type: "enabled", budget_tokens: 1024 } };
  const question = user(`think [sim: thinking=9] ${weather}`);
  const called = await ask([question], thinking);
  said.called = told(called);
  const answers = said.called.calls.map(({ id, name }) => ({ type: "tool_result", tool_use_id: id, content: results[name] }));
  said.answer = told(await ask([question, { role: "assistant", content: called.content }, user(answers.reverse())], thinking));

  // The package's own loop: it calls the functions and asks again until there is an answer.
  const ran = [];
  const functions = tools.map(({ name }) =>
    betaTool({ name, description: name, inputSchema: input_schema, run: ({ city }) => (ran.push(`${name} ${city}`), results[name]) }),
  );
  const body = { model, max_tokens: 2000, messages: [user(weather)], tools: functions, stream };
  const final = await client.beta.messages.toolRunner(body).runUntilDone();
  said.loop = { text: told(final).text, ran };
  return said;
}

async function fail() {
  const said = {};
  said.refused = await failure(ask([user("[sim: status=500]")]));
  said.unknown = await failure(client.messages.create({ model: "no-such-model", max_tokens: 9, messages: [user("hello")] }));
  said.broken = await failure(ask([user(`${weather} [sim: cut=${stream ? 6 : 20}]`)], { tools }));
  said.counted = await client.messages.countTokens({ model, messages: [user("hello there")] });
  return said;
}

console.log(JSON.stringify(await (failing ? fail() : converse())));
