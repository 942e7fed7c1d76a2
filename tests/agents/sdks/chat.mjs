// A conversation through the `openai` package. Takes {url, key, model, stream, failing} as JSON, prints what came of it as JSON.
import OpenAI from "openai";

const { url, key, model, stream, failing } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const weather = `[sim: tools=get_weather,get_time args='{"city":"Oslo"}']`;
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = ["get_weather", "get_time"].map((name) => ({ type: "function", function: { name, parameters } }));
const results = { get_weather: "snow all day", get_time: "half past nine" };

async function ask(messages, options = {}) {
  const body = { model, messages, max_tokens: 2000, ...options };
  if (!stream) return await client.chat.completions.create(body);
  const events = client.chat.completions.stream({ ...body, stream_options: { include_usage: true } });
  let thinking = "";
  events.on("chunk", ({ choices }) => (thinking += choices[0]?.delta.reasoning_content ?? ""));
  const completion = await events.finalChatCompletion(); // it joins only the fields that it knows
  if (thinking) completion.choices[0].message.reasoning_content = thinking;
  return completion;
}

function told({ model, choices }) {
  const { content, reasoning_content, tool_calls } = choices[0].message;
  const calls = (tool_calls ?? []).map(({ id, function: f }) => ({ id, name: f.name, input: JSON.parse(f.arguments) }));
  return { model, text: content, thinking: reasoning_content, calls, stop: choices[0].finish_reason };
}

async function failure(asking) {
  try {
    return { answered: told(await asking) };
  } catch (error) {
    return { error: error.constructor.name, status: error.status, known: error instanceof OpenAI.APIError };
  }
}

const user = (content) => ({ role: "user", content });

async function converse() {
  const said = {};
  said.text = told(await ask([user("hello there")]));

  const thinking = { tools, reasoning_effort: "low" };
  const question = user(`think [sim: thinking=9] ${weather}`);
  const called = await ask([question], thinking);
  said.called = told(called);
  const answers = said.called.calls.map(({ id, name }) => ({ role: "tool", tool_call_id: id, content: results[name] }));
  said.answer = told(await ask([question, called.choices[0].message, ...answers.reverse()], thinking));

  // The package's own loop: it calls the functions and asks again until there is an answer.
  const ran = [];
  const functions = tools.map(({ function: f }) => ({
    type: "function",
    function: { ...f, parse: JSON.parse, function: ({ city }) => (ran.push(`${f.name} ${city}`), results[f.name]) },
  }));
  const loop = client.chat.completions.runTools({ model, messages: [user(weather)], tools: functions, stream });
  said.loop = { text: await loop.finalContent(), ran };
  return said;
}

async function fail() {
  const said = {};
  said.refused = await failure(ask([user("[sim: status=500]")]));
  said.unknown = await failure(client.chat.completions.create({ model: "no-such-model", messages: [user("hello")] }));
  said.broken = await failure(ask([user(`${weather} [sim: cut=${stream ? 6 : 20}]`)], { tools }));
  return said;
}

console.log(JSON.stringify(await (failing ? fail() : converse())));
