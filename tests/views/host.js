// A host of MCP Apps, as small as one can be. It embeds one view in a sandboxed frame, keeps what the view sends, and
// calls tools through window.callTool(name, arguments) -> a JSON-RPC answer {result} or {error}.

window.host = {
  received: [],
  capabilities: { serverTools: {} },
  context: { theme: "light" },

  embed(html) {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.title = "View";
    frame.style = "width: 100%; border: 0";
    window.addEventListener("message", (event) => event.source === frame.contentWindow && this.take(event.data));
    frame.srcdoc = html;
    document.body.append(frame);
    this.frame = frame;
  },

  send(message) {
    this.frame.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
  },

  notify(name, params) {
    this.send({ method: `ui/notifications/${name}`, params });
  },

  async take(message) {
    this.received.push(message);
    const { id, method, params } = message;
    if (method === "ui/initialize") {
      this.send({ id, result: {
        protocolVersion: params.protocolVersion, hostInfo: { name: "test", version: "1" },
        hostCapabilities: this.capabilities, hostContext: this.context,
      } });
    }
    if (method === "tools/call") this.send({ id, ...(await window.callTool(params.name, params.arguments)) });
    if (method === "ui/notifications/size-changed") this.frame.style.height = `${params.height}px`;
  },
};
