// A link in a field, and a button that copies it. Where the page is not served by https or localhost, browsers have no
// clipboard for it: there the field is selected and copied as by hand.

const SHOWN = 2000; // milliseconds for which the button says that it is done

function build(element) {
  const field = Object.assign(document.createElement('input'), { readOnly: true });
  field.setAttribute('aria-label', 'Link to this view');
  const button = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Copy link' });
  button.setAttribute('aria-live', 'polite');
  button.onclick = async () => {
    field.select();
    const done = await navigator.clipboard?.writeText(field.value).then(() => true, () => false);
    button.textContent = done || document.execCommand('copy') ? 'Copied' : 'Copy it by hand';
    setTimeout(() => { button.textContent = 'Copy link'; }, SHOWN);
  };
  const place = document.createElement('div');
  place.className = 'ash-copy';
  place.append(field, button);
  element.append(place);
  return field;
}

export default function ({ data, parentElement }) {
  const field = parentElement.querySelector('.ash-copy input') ?? build(parentElement);
  field.value = data.link;
}
