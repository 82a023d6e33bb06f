// Elements by their tag, their properties and what is in them. Texts stay texts, whatever a model calls its classes.

export function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
        if (key in made) made[key] = value;
        else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
}

// A label or a character such that it can be seen.
export function visible(text) {
    return text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replace(/^ +$/, (blanks) => "␣".repeat(blanks.length));
}
