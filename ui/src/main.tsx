// The entry: styles, the marks' style sheet, the event stream, and the app.
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { markStyles } from "./components/glyphs";
import { follow } from "./live/stream";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/marks.css";
import "./styles/panels.css";
import "./styles/forms.css";
import "./styles/notices.css";
import "./styles/grid.css";
import "./styles/chart.css";
import "./styles/flow-pages.css";
import "./styles/dataflow.css";
import "./styles/run-page.css";
import "./styles/view-pages.css";

const sheet = document.createElement("style");
sheet.textContent = markStyles();
document.head.append(sheet);
follow();

const root = document.getElementById("root");
if (root) createRoot(root).render(<StrictMode><App /></StrictMode>);
