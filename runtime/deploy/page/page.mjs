// The page: loads the model, and runs it whenever its input changes, one run at a time.

import * as ort from "./onnxruntime/ort.wasm.bundle.min.mjs";

import { element } from "./elements.mjs";
import { formInputs } from "./form.mjs";
import { pictureInput } from "./picture.mjs";
import { showResults } from "./results.mjs";

const byId = (id) => document.getElementById(id);

function say(text, wrong = false) {
    byId("message").textContent = text;
    byId("message").classList.toggle("wrong", wrong);
}

async function fetched(name) {
    const response = await fetch(name);
    if (!response.ok) throw new Error(`${name} is not there: the server says ${response.status}`);
    return response;
}

async function start() {
    const model = await (await fetched("model.json")).json();
    document.title = byId("name").textContent = model.name;
    for (const [name, text] of model.facts) {
        byId("facts").querySelector("dl").append(element("dt", { textContent: name }), element("dd", { textContent: text }));
    }
    ort.env.wasm.wasmPaths = { wasm: new URL("onnxruntime/ort-wasm-simd-threaded.wasm", document.baseURI).href };
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = "error";
    const content = new Uint8Array(await (await fetched("model.onnx")).arrayBuffer());
    const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });

    let [running, again] = [false, false];
    const run = async (failure) => {
        if (failure) {
            say(failure.message, true);
            return;
        }
        again = true;
        if (running) return;
        running = true;
        while (again) {
            again = false;
            await once().catch((failure) => {
                byId("results").replaceChildren(); // those of other inputs
                say(failure.message, true);
            });
        }
        running = false;
    };
    const once = async () => {
        const inputs = read(ort);
        if (inputs === null) {
            byId("results").replaceChildren();
            say("");
            return;
        }
        const begun = performance.now();
        const outputs = await session.run(inputs);
        const milliseconds = performance.now() - begun;
        showResults(byId("results"), model, outputs);
        say("");
        byId("results").append(element("p", { className: "hint", textContent: `in ${milliseconds.toFixed(1)} ms` }));
        // For those who want to look closer: the tensors of the last run, at the browser's console.
        window.lastRun = { inputs, outputs };
    };
    const read = (model.image ? pictureInput : formInputs)(byId("inputs"), model, run);
    say("");
    if (model.image) await run();
    document.body.dataset.ready = "yes";
}

start().catch((failure) => say(`The model can't be run here: ${failure.message}`, true));
