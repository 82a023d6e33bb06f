// What the model gave: classes with their shares where there are any, else the numbers.

import { element, visible } from "./elements.mjs";
import { numbersOf, shares } from "./tensors.mjs";

const MOST_BARS = 20;
const MOST_NUMBERS = 200;

export function showResults(section, model, outputs) {
    section.replaceChildren();
    for (const { name } of model.outputs) {
        const tensor = outputs[name];
        const labels = labelsOf(model, tensor);
        if (model.outputs.length > 1) section.append(element("h2", { textContent: name }));
        if (labels) classes(section, labels, lastRow(tensor, labels.length));
        else values(section, tensor);
    }
}

// The names of the classes that an output has scores of, for one sample or for each step of one; null where it is none.
function labelsOf(model, { type, dims }) {
    const count = dims.at(-1);
    const oneRow = dims.length >= 2 && dims.length <= 3 && dims[0] === 1;
    if (!type.startsWith("float") || !oneRow || count < 2) return null;
    if (model.labels.length === count) return model.labels;
    const words = model.inputs.map((input) => input.words ?? []).find((words) => words.length === count);
    if (words) return words;
    return model.image && dims.length === 2 ? Array.from({ length: count }, (_, number) => String(number)) : null;
}

function lastRow(tensor, count) {
    return numbersOf(tensor).slice(-count);
}

function classes(section, labels, scores) {
    const found = shares(scores).map((share, number) => ({ label: visible(labels[number]), share, number }));
    const ranked = [...found].sort((a, b) => b.share - a.share || a.number - b.number);
    const best = ranked[0];
    section.append(element("p", { className: "answer" }, element("strong", { textContent: best.label }), ` ${percent(best.share)}`));
    const bars = element("div", { className: "bars" });
    for (const { label, share, number } of found.length > MOST_BARS ? ranked.slice(0, MOST_BARS) : found) {
        bars.append(
            element("span", { className: "label", textContent: label, title: label }),
            element("progress", { value: share, max: 1, className: number === best.number ? "best" : "", "aria-label": label }),
            element("span", { className: "share", textContent: percent(share) }),
        );
    }
    section.append(bars);
}

function values(section, tensor) {
    const numbers = numbersOf(tensor);
    const one = numbers.length === 1;
    const shown = numbers.slice(0, MOST_NUMBERS).map((number) => String(Number(number.toPrecision(6))));
    section.append(
        element("p", { className: one ? "answer" : "values", textContent: shown.join(one ? "" : ", ") }),
    );
    if (!one) {
        const rest = numbers.length > MOST_NUMBERS ? `, the first ${MOST_NUMBERS} of ${numbers.length}` : "";
        section.append(element("p", { className: "hint", textContent: `of the shape [${tensor.dims.join(", ")}]${rest}` }));
    }
}

function percent(share) {
    return `${(100 * share).toFixed(share > 0.9995 && share < 1 ? 2 : 1)}%`;
}
