"use strict";
// Shows /openapi.json: its operations, each of which can be tried with a key, and its schemas.

let api;

// An element with attributes and children; texts become text nodes, so nothing in the document is ever markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null));
  return element;
}

// A text in which `code` stands between backticks and a blank line begins a paragraph.
function prose(text = "") {
  return text.split(/\n\s*\n/).filter(Boolean).map((paragraph) => make("p", {}, inline(paragraph)));
}

function inline(text = "") {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function named(schema) {
  return schema.$ref ? schema.$ref.split("/").pop() : null;
}

function resolved(schema) {
  return schema.$ref ? api.components.schemas[named(schema)] : schema;
}

// What a schema is, in a few words, with links to the schemas that it names.
function typeOf(schema) {
  const name = named(schema);
  if (name) return [make("a", { href: `#schema-${name}` }, name)];
  if (schema.enum) return [schema.enum.join(" | ")];
  const options = schema.anyOf || schema.oneOf;
  if (options) return options.flatMap((option, index) => (index ? [" | ", ...typeOf(option)] : typeOf(option)));
  if (schema.type === "array") return schema.items ? ["array of ", ...typeOf(schema.items)] : ["array"];
  return [schema.format || schema.type || "any JSON"];
}

function limits(schema) {
  const words = {
    minimum: "at least #", maximum: "at most #", minLength: "at least # characters", maxLength: "at most # characters",
    minItems: "at least # items", maxItems: "at most # items",
  };
  const found = Object.entries(words).filter(([key]) => key in schema).map(([key, word]) => word.replace("#", schema[key]));
  if ("default" in schema) found.push(`default ${JSON.stringify(schema.default)}`);
  const sample = (schema.examples || [])[0];
  if (sample !== undefined) found.push(`such as ${JSON.stringify(sample)}`);
  return found.join(", ");
}

// A schema that may also be null, with what is said of it when it is not.
function whole(schema) {
  const options = (schema.anyOf || []).filter((option) => option.type !== "null");
  return options.length === 1 ? { ...options[0], ...schema } : schema;
}

function fieldRow(name, schema, required, description, input = null) {
  const all = whole(schema);
  const about = [make("div", {}, inline(description || all.description)), make("div", { class: "soft" }, limits(all))];
  return make("tr", {},
    make("td", {}, make("code", {}, name), required ? make("div", { class: "soft" }, "required") : null),
    make("td", {}, typeOf(schema), about, input));
}

function fieldTable(schema) {
  const required = schema.required || [];
  const rows = Object.entries(schema.properties || {}).map(([name, field]) => fieldRow(name, field, required.includes(name)));
  return make("table", {}, rows);
}

// A value that shows the shape of a schema: its default or example, or something of its type.
function sampleOf(schema, depth = 0) {
  if ("default" in schema) return schema.default;
  schema = resolved(schema);
  if (schema.examples) return schema.examples[0];
  if (schema.enum) return schema.enum[0];
  const options = schema.anyOf || schema.oneOf;
  if (options) return sampleOf(options[0], depth);
  if (schema.type === "array") return [];
  if (schema.type === "object") {
    const fields = schema.properties || {};
    const names = Object.keys(fields).filter((name) => (schema.required || []).includes(name) || (!depth && "default" in fields[name]));
    return Object.fromEntries(names.map((name) => [name, sampleOf(schema.properties[name], depth + 1)]));
  }
  return { integer: 0, number: 0, boolean: false, string: "" }[schema.type] ?? null;
}

function bodyEditor(body) {
  if (!body) return null;
  const text = make("textarea", { rows: 8, spellcheck: "false", "aria-label": "Body" });
  const choice = make("select", { "aria-label": "Media type" });
  const samples = [];
  for (const [type, form] of Object.entries(body.content)) {
    const examples = form.examples ? Object.entries(form.examples).map(([name, e]) => [name, e.value]) : [["", sampleOf(form.schema)]];
    for (const [name, value] of examples) {
      samples.push({ type, text: JSON.stringify(value, null, 2) });
      choice.append(make("option", { value: samples.length - 1 }, name ? `${type}: ${name}` : type));
    }
  }
  const show = () => {
    text.value = samples[choice.value].text;
    text.rows = Math.min(24, text.value.split("\n").length + 1);
  };
  choice.addEventListener("change", show);
  show();
  const schemas = Object.values(body.content).map((form) => make("div", {}, typeOf(form.schema)));
  return { parts: [make("h3", {}, "Body"), schemas, choice, text], read: () => ({ type: samples[choice.value].type, text: text.value }) };
}

function parameterTable(parameters, inputs) {
  if (!parameters.length) return null;
  const rows = parameters.map((parameter) => {
    const input = make("input", { "aria-label": parameter.name });
    inputs.push({ parameter, input });
    return fieldRow(parameter.name, parameter.schema, parameter.required, parameter.description, input);
  });
  return [make("h3", {}, "Parameters"), make("table", {}, rows)];
}

function addressOf(path, inputs) {
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(parameter.name, input.value);
  }
  return query.size ? `${path}?${query}` : path;
}

async function send(method, path, inputs, editor, output) {
  const headers = {};
  const key = document.getElementById("key").value.trim();
  if (key) headers.Authorization = `Bearer ${key}`;
  const body = editor && editor.read();
  if (body) headers["Content-Type"] = body.type;
  output.replaceChildren("…");
  try {
    const answer = await fetch(addressOf(path, inputs), { method, headers, body: body ? body.text : undefined });
    output.replaceChildren(await shown(answer));
  } catch (error) {
    output.replaceChildren(make("p", { class: "bad" }, `No answer: ${error.message}`));
  }
}

async function shown(answer) {
  let text = await answer.text();
  try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is not JSON: as it came */ }
  const status = make("strong", answer.ok ? {} : { class: "bad" }, `${answer.status} ${answer.statusText}`);
  return make("div", { role: "status" }, status, make("pre", {}, text));
}

function answers(responses) {
  const rows = Object.entries(responses).map(([status, response]) => {
    const types = Object.values(response.content || {}).map((form) => make("div", {}, typeOf(form.schema)));
    return make("tr", {}, make("td", {}, make("code", {}, status)), make("td", {}, inline(response.description)), make("td", {}, types));
  });
  return [make("h3", {}, "Answers"), make("table", {}, rows)];
}

function operationPanel(method, path, operation) {
  const inputs = [];
  const editor = bodyEditor(operation.requestBody);
  const output = make("div");
  const button = make("button", { type: "button" }, "Send");
  button.addEventListener("click", () => send(method.toUpperCase(), path, inputs, editor, output));
  const summary = make("summary", {},
    make("span", { class: `method ${method}` }, method.toUpperCase()), make("code", {}, path), make("span", {}, inline(operation.summary)));
  return make("details", { id: operation.operationId }, summary, make("div", {},
    prose(operation.description), parameterTable(operation.parameters, inputs), editor ? editor.parts : null,
    make("div", { class: "send" }, button), output, answers(operation.responses)));
}

function schemaPanel(name, schema) {
  const content = schema.properties ? fieldTable(schema) : make("p", {}, typeOf(schema));
  return make("details", { id: `schema-${name}` },
    make("summary", {}, make("code", {}, name)), make("div", {}, prose(schema.description), content));
}

function operations() {
  return Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation, tag: operation.tags[0] })));
}

function show() {
  const nav = document.querySelector("nav");
  const list = document.getElementById("operations");
  for (const [tag, group] of Map.groupBy(operations(), (one) => one.tag)) {
    list.append(make("h2", {}, tag[0].toUpperCase() + tag.slice(1)));
    list.append(...group.map((one) => operationPanel(one.method, one.path, one.operation)));
    const links = group.map((one) => make("li", {}, make("a", { href: `#${one.operation.operationId}` }, inline(one.operation.summary))));
    nav.append(make("strong", {}, tag), make("ul", {}, links));
  }
  nav.append(make("a", { href: "#schemas" }, "Schemas"));
  const schemas = Object.entries(api.components.schemas);
  document.getElementById("schema-list").append(...schemas.map(([name, schema]) => schemaPanel(name, schema)));
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").replaceChildren(...inline(api.info.description));
}

// A link to a panel opens it.
function openNamed() {
  const panel = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (panel instanceof HTMLDetailsElement) panel.open = true;
  if (panel) panel.scrollIntoView();
}

async function start() {
  api = await (await fetch("/openapi.json")).json();
  show();
  openNamed();
  window.addEventListener("hashchange", openNamed);
}

start().catch((error) => {
  document.getElementById("about").replaceChildren(`/openapi.json could not be read: ${error.message}`);
});
