"use strict";

// Draws the OpenAPI document. Everything is put in as text, never as markup.

const METHODS = ["get", "post", "put", "delete"];

function el(tag, attributes = {}, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Text in which `code` is marked as in Markdown.
function prose(tag, attributes, text) {
  return el(tag, attributes, ...text.split("`").map((part, place) => (place % 2 ? el("code", {}, part) : part)));
}

function resolve(api, node) {
  if (!node || !node.$ref) return node;
  return resolve(api, node.$ref.slice(2).split("/").reduce((found, step) => found[step], api));
}

// A schema in one line, such as `integer 1..100 = 20`.
function brief(api, schema) {
  if (schema.$ref) {
    const target = resolve(api, schema);
    return target.enum ? target.enum.join(" | ") : schema.$ref.split("/").pop();
  }
  if (schema.anyOf) return schema.anyOf.map((choice) => brief(api, choice)).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if ("const" in schema) return String(schema.const);
  if (schema.type === "array") return `list of ${brief(api, schema.items || {})}`;
  let text = schema.format ? `${schema.type} (${schema.format})` : schema.type || "anything";
  const beyond = schema.exclusiveMinimum === undefined ? undefined : `>${schema.exclusiveMinimum}`;
  const [least, most] = schema.type === "string" ? [schema.minLength, schema.maxLength] : [schema.minimum ?? beyond, schema.maximum];
  if (least !== undefined || most !== undefined) text += ` ${least ?? ""}..${most ?? ""}`;
  if (schema.type === "string" && (least ?? most) !== undefined) text += " characters";
  if (schema.default !== undefined && schema.default !== null) text += ` = ${schema.default}`;
  return text;
}

// A schema as something that looks like its JSON.
function shape(api, schema, indent = "") {
  const target = resolve(api, schema);
  if (target.anyOf) {
    const rest = target.anyOf.filter((choice) => choice.type !== "null");
    return rest.map((choice) => shape(api, choice, indent)).join(" or ") + (rest.length < target.anyOf.length ? " or null" : "");
  }
  if (target.type === "array") return `[${shape(api, target.items || {}, indent)}, …]`;
  if (!target.properties) return brief(api, schema.$ref && !target.enum ? target : schema);
  const inner = indent + "  ";
  const required = new Set(target.required || []);
  const lines = Object.entries(target.properties).map(
    ([name, property]) => `${inner}"${name}"${required.has(name) ? "" : "?"}: ${shape(api, property, inner)}`
  );
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

function example(api, schema) {
  const target = resolve(api, schema);
  if (!target.properties) return null;
  const required = new Set(target.required || []);
  return Object.fromEntries(
    Object.entries(target.properties).map(([name, property]) => [name, required.has(name) ? "" : property.default ?? null])
  );
}

function drawInputs(api, operation) {
  const inputs = operation.parameters.map((parameter) => {
    const input = el("input", { name: parameter.name, required: parameter.required, ariaLabel: parameter.name });
    return { parameter, input };
  });
  const rows = inputs.map(({ parameter, input }) =>
    el("tr", {}, el("td", {}, el("code", {}, parameter.name), parameter.required ? " *" : ""),
      el("td", {}, `${parameter.in}, ${brief(api, parameter.schema)}`, prose("div", { className: "dim" }, parameter.description || "")),
      el("td", {}, input)));
  return { inputs, table: rows.length ? el("table", {}, ...rows) : null };
}

function drawBody(api, operation) {
  const content = operation.requestBody ? operation.requestBody.content : {};
  if (content["multipart/form-data"]) {
    const field = Object.keys(content["multipart/form-data"].schema.properties)[0];
    const input = el("input", { type: "file", multiple: true, ariaLabel: field });
    const read = () => {
      const form = new FormData();
      for (const file of input.files) form.append(field, file);
      return { body: form };
    };
    return { node: el("p", {}, el("code", {}, field), " ", input), read };
  }
  if (content["application/json"]) {
    const schema = content["application/json"].schema;
    const text = el("textarea", { rows: 6, ariaLabel: "body", value: JSON.stringify(example(api, schema), null, 2) });
    const read = () => (text.value.trim() ? { body: text.value, headers: { "Content-Type": "application/json" } } : {});
    return { node: el("div", {}, el("pre", {}, shape(api, schema)), text), read };
  }
  return { node: null, read: () => ({}) };
}

function drawAnswers(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, given]) => {
    const answer = resolve(api, given);
    const [media, content] = Object.entries(answer.content || {})[0] || ["", {}];
    const frame = answer["x-frame"];
    const schema = frame || (Number(status) < 400 || !given.$ref ? content.schema : null);
    return el("tr", {}, el("td", {}, status),
      el("td", {}, prose("span", {}, answer.description), media ? el("span", { className: "dim" }, ` ${media}`) : null,
        schema ? el("pre", {}, shape(api, schema)) : null));
  });
  return el("table", {}, ...rows);
}

async function send(method, path, inputs, body, output) {
  const query = new URLSearchParams();
  let url = path;
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(parameter.name, input.value);
  }
  if ([...query].length) url += `?${query}`;
  output.replaceChildren("…");
  try {
    const started = performance.now();
    const answer = await fetch(url, { method: method.toUpperCase(), credentials: "same-origin", ...body });
    const took = Math.round(performance.now() - started);
    const shown = [el("p", {}, `${answer.status} ${answer.statusText}, ${took} ms`)];
    const type = answer.headers.get("Content-Type") || "";
    if (type.startsWith("image/")) {
      const image = el("img", { src: URL.createObjectURL(await answer.blob()), alt: url });
      image.onload = () => URL.revokeObjectURL(image.src);
      shown.push(image);
    } else {
      const text = await answer.text();
      shown.push(el("pre", {}, type.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text));
    }
    output.replaceChildren(...shown);
  } catch (error) {
    output.replaceChildren(el("p", {}, `No answer: ${error.message}`));
  }
}

function drawOperation(api, path, method, operation) {
  const { inputs, table } = drawInputs(api, operation);
  const body = drawBody(api, operation);
  const output = el("div", { ariaLive: "polite" });
  const form = el("form", {}, table, body.node, el("button", {}, "Send"), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, inputs, body.read(), output);
  });
  const isSocket = "101" in operation.responses;
  const content = el("div", {},
    operation.description ? prose("p", {}, operation.description) : null,
    isSocket ? table : form,
    el("h3", {}, "Answers"),
    drawAnswers(api, operation));
  const summary = el("summary", {},
    el("span", { className: `method ${method}` }, method.toUpperCase()),
    el("code", {}, path),
    el("span", { className: "says" }, operation.summary + (operation.security ? " · signed in" : "")));
  return el("details", { className: "operation", id: operation.operationId }, summary, content);
}

async function draw() {
  const main = document.getElementById("operations");
  let api;
  try {
    api = await (await fetch("/api/openapi.json")).json();
  } catch (error) {
    main.replaceChildren(el("p", {}, `The document cannot be read: ${error.message}`));
    return;
  }
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").replaceChildren(...api.info.description.split("\n\n").map((text) => prose("p", {}, text)));
  const sections = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => name in item)) {
      const tag = item[method].tags[0];
      if (!sections.has(tag)) sections.set(tag, el("section", {}, el("h2", {}, tag)));
      sections.get(tag).append(drawOperation(api, path, method, item[method]));
    }
  }
  main.replaceChildren(...sections.values());
}

draw();
