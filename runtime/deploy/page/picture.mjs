// The input of a model that takes a picture: a board to draw on, and files.

import { element } from "./elements.mjs";
import { channel, covering, darkness, fitted } from "./ink.mjs";
import { tensor } from "./tensors.mjs";

const BOARD = 336; // pixels of its longer side
const LARGEST = 2048; // pixels of a file's longer side that are looked at

// Fills the section and gives a function from ONNX Runtime to the inputs by name, or null where there is no picture yet.
export function pictureInput(section, model, changed) {
    const { input, rows, columns, channels, layout, low, high } = model.image;
    const grey = channels === 1;
    const longer = Math.max(rows, columns);
    const board = element("canvas", {
        className: "board",
        width: Math.round((BOARD * columns) / longer),
        height: Math.round((BOARD * rows) / longer),
        role: "img",
        "aria-label": "The picture that the model is asked about",
    });
    const seen = element("canvas", { className: "seen", width: columns, height: rows, "aria-hidden": "true" });
    const turned = element("input", { type: "checkbox" });
    const file = element("input", { type: "file", accept: "image/*" });
    const clear = element("button", { type: "button", textContent: "Clear" });
    let opened = null;

    if (grey) drawOn(board, () => {
        if (opened) wipe(board);
        opened = null;
    }, changed);
    clear.onclick = () => {
        opened = null;
        file.value = "";
        wipe(board);
        changed();
    };
    turned.onchange = () => changed();
    file.onchange = async () => {
        if (!file.files.length) return;
        try {
            opened = await picture(file.files[0]);
            show(board, opened);
            changed();
        } catch {
            changed(new Error("the file can't be read as a picture"));
        }
    };
    wipe(board);
    section.append(
        element("p", { className: "hint", textContent: grey ? "Draw here, or open a picture." : "Open a picture." }),
        board,
        element("div", { className: "row" }, clear, element("label", {}, "Picture ", file)),
        element(
            "div",
            { className: "row" },
            seen,
            element("span", { className: "hint", textContent: `what the model sees: ${columns} × ${rows} pixels` }),
            element("label", {}, turned, " light and dark exchanged"),
        ),
    );

    return (ort) => {
        const planes = planesOf(board, opened, rows, columns, grey);
        paint(seen, planes ?? [new Float64Array(rows * columns)], turned.checked);
        if (planes === null) return null;
        const size = rows * columns;
        const numbers = new Array(size * channels);
        planes.forEach((plane, number) => plane.forEach((value, place) => {
            const share = turned.checked ? 1 - value : value;
            const wanted = low + (high - low) * share;
            const at = layout === "hwc" ? place * channels + number : number * size + place;
            numbers[at] = input.dtype.startsWith("f") ? wanted : Math.round(wanted);
        }));
        const dims = input.shape.map((size) => (typeof size === "number" ? size : 1));
        return { [input.name]: tensor(ort, input, numbers, dims) };
    };
}

// The channels, each with values from 0 to 1. What is drawn is high where there is ink; a picture where it is light.
function planesOf(board, opened, rows, columns, grey) {
    if (opened && grey) {
        const dark = darkness(opened);
        dark.values = dark.values.map((value) => 1 - value);
        return [covering(dark, rows, columns)];
    }
    if (opened) return [0, 1, 2].map((number) => covering(channel(opened, number), rows, columns));
    if (!grey) return null;
    const plane = fitted(darkness(board), rows, columns);
    return plane && [plane];
}

function drawOn(board, begin, changed) {
    const context = board.getContext("2d", { willReadFrequently: true });
    let last = null;
    const place = (event) => {
        const box = board.getBoundingClientRect();
        return [((event.clientX - box.left) * board.width) / box.width, ((event.clientY - box.top) * board.height) / box.height];
    };
    const stroke = (event) => {
        const next = place(event);
        context.lineWidth = Math.min(board.width, board.height) / 14;
        context.lineCap = context.lineJoin = "round";
        context.strokeStyle = "#000";
        context.beginPath();
        context.moveTo(...last);
        context.lineTo(...next);
        context.stroke();
        last = next;
        changed();
    };
    board.onpointerdown = (event) => {
        if (event.button !== 0) return;
        begin();
        board.setPointerCapture(event.pointerId);
        last = place(event);
        stroke(event);
    };
    board.onpointermove = (event) => {
        if (last) stroke(event);
    };
    board.onpointerup = board.onpointercancel = () => {
        last = null;
    };
}

function wipe(board) {
    const context = board.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, board.width, board.height);
}

async function picture(file) {
    const bitmap = await createImageBitmap(file);
    const share = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
    const canvas = element("canvas", {
        width: Math.max(1, Math.round(bitmap.width * share)),
        height: Math.max(1, Math.round(bitmap.height * share)),
    });
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return canvas;
}

function show(board, opened) {
    wipe(board);
    const share = Math.max(board.width / opened.width, board.height / opened.height);
    const [width, height] = [opened.width * share, opened.height * share];
    board.getContext("2d").drawImage(opened, (board.width - width) / 2, (board.height - height) / 2, width, height);
}

function paint(canvas, planes, turned) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    for (let place = 0; place < canvas.width * canvas.height; place++) {
        for (let number = 0; number < 3; number++) {
            const value = planes[Math.min(number, planes.length - 1)][place];
            image.data[4 * place + number] = Math.round(255 * (turned ? 1 - value : value));
        }
        image.data[4 * place + 3] = 255;
    }
    context.putImageData(image, 0, 0);
}
