// The inputs of any model: fields for a few numbers, text where the file has its characters, lists for the rest.

import { element, visible } from "./elements.mjs";
import { tensor } from "./tensors.mjs";

const MOST_FIELDS = 24;

// Fills the section and gives a function from ONNX Runtime to the inputs by name.
export function formInputs(section, model, changed) {
    const readers = model.inputs.map((input) => {
        const set = element("fieldset", {}, element("legend", { textContent: input.name }));
        section.append(set);
        return [input, reader(set, input)];
    });
    const run = element("button", { type: "button", className: "main", textContent: "Run" });
    run.onclick = () => changed();
    section.append(run);
    return (ort) =>
        Object.fromEntries(readers.map(([input, read]) => {
            const { numbers, dims } = read();
            within(input, dims);
            return [input.name, tensor(ort, input, numbers, dims)];
        }));
}

// Throws where a free size is beyond its bounds.
function within(input, dims) {
    input.shape.forEach((size, axis) => {
        const [least, most] = input.bounds[size] ?? [0, null];
        if (dims[axis] >= least && dims[axis] <= (most ?? Infinity)) return;
        const wanted = most === null ? `${least} or more` : `${least} to ${most}`;
        throw new Error(`${input.name} takes ${wanted} in dimension ${axis}, and has ${dims[axis]}`);
    });
}

// The sizes of one sample, and what stands before them: a dimension that is free and comes first has the size 1.
function parts(shape) {
    const batched = shape.length > 0 && typeof shape[0] !== "number";
    return { before: batched ? [1] : [], sizes: batched ? shape.slice(1) : shape };
}

function reader(set, input) {
    const { before, sizes } = parts(input.shape);
    const count = sizes.reduce((product, size) => product * (typeof size === "number" ? size : NaN), 1);
    if (input.words && sizes.length === 0) return choice(set, input, before);
    if (input.words && sizes.length === 1) return text(set, input, before, sizes[0]);
    if (count <= MOST_FIELDS) return fields(set, input, before, sizes, count);
    return list(set, input, before, sizes);
}

function choice(set, input, before) {
    const field = element("select", { "aria-label": input.name });
    input.words.forEach((word, number) => field.append(element("option", { value: number, textContent: visible(word) })));
    set.append(field);
    return () => ({ numbers: [Number(field.value)], dims: before });
}

function text(set, input, before, size) {
    const single = input.words.every((word) => [...word].length === 1);
    const places = new Map(input.words.map((word, number) => [word, number]));
    const end = places.get("\n");
    const field = element("textarea", { "aria-label": input.name, value: "" });
    const length = element("input", { type: "number", min: 1, "aria-label": `length of ${input.name}` });
    set.append(field);
    const free = typeof size !== "number";
    if (free && single && end !== undefined) {
        set.append(element("label", {}, "filled up with line ends to a length of (may be empty) ", length));
    }
    return () => {
        const words = single ? [...field.value] : field.value.split(/\s+/).filter(Boolean);
        const wanted = free ? Number(length.value) || Math.max(1, words.length) : size;
        if (words.length > wanted) throw new Error(`${input.name} has ${words.length} signs, and ${wanted} is the most`);
        const numbers = words.map((word) => {
            if (!places.has(word)) throw new Error(`the model does not know ${JSON.stringify(word)} in ${input.name}`);
            return places.get(word);
        });
        if (numbers.length < wanted && end === undefined) {
            throw new Error(`${input.name} takes ${wanted} signs, and has ${numbers.length}`);
        }
        while (numbers.length < wanted) numbers.push(end);
        return { numbers, dims: [...before, wanted] };
    };
}

function fields(set, input, before, sizes, count) {
    const grid = element("div", { className: "fields" });
    const made = Array.from({ length: count }, (_, place) => {
        const name = count > 1 ? `${input.name} ${indices(place, sizes)}` : "";
        const yes = input.dtype === "bool";
        const field = yes
            ? element("input", { type: "checkbox" })
            : element("input", { type: "number", step: input.dtype.startsWith("f") ? "any" : 1, value: 0 });
        field.setAttribute("aria-label", name || input.name);
        grid.append(element("label", {}, `${name} `, field));
        return () => (yes ? Number(field.checked) : field.value === "" ? NaN : Number(field.value));
    });
    set.append(grid);
    return () => ({ numbers: made.map((read) => read()), dims: [...before, ...sizes] });
}

function indices(place, sizes) {
    const found = [];
    for (const size of [...sizes].reverse()) {
        found.unshift(place % size);
        place = Math.floor(place / size);
    }
    return found.join(", ");
}

function list(set, input, before, sizes) {
    const shown = sizes.map((size) => size ?? "?").join(", ");
    const field = element("textarea", { "aria-label": input.name });
    const hint = `numbers of the shape [${shown}], row by row, or as lists in brackets`;
    set.append(element("p", { className: "hint", textContent: hint }), field);
    return () => {
        const told = field.value.includes("[") ? nested(field.value, input.name) : null;
        const numbers = told ? told.flat(Infinity) : field.value.split(/[\s,;]+/).filter(Boolean).map(Number);
        const dims = told && shapeOf(told).length === sizes.length ? shapeOf(told) : filled(sizes, numbers.length, input.name);
        if (dims.reduce((a, b) => a * b, 1) !== numbers.length) {
            throw new Error(`${input.name} takes [${shown}], and ${numbers.length} numbers are given`);
        }
        return { numbers, dims: [...before, ...dims] };
    };
}

function nested(text, name) {
    try {
        return JSON.parse(text);
    } catch {
        throw new Error(`the lists of ${name} can't be read: write [[1, 2], [3, 4]]`);
    }
}

function shapeOf(lists) {
    return Array.isArray(lists) ? [lists.length, ...shapeOf(lists[0])] : [];
}

// The sizes with the free one worked out from how many numbers there are.
function filled(sizes, count, name) {
    const known = sizes.filter((size) => typeof size === "number").reduce((a, b) => a * b, 1);
    const free = sizes.filter((size) => typeof size !== "number").length;
    if (free > 1) throw new Error(`${name} has several free sizes: write lists in brackets`);
    if (free === 1 && (count === 0 || count % known !== 0)) {
        throw new Error(`${name} takes ${known} numbers for each step, and ${count} are given`);
    }
    return sizes.map((size) => (typeof size === "number" ? size : count / known));
}
