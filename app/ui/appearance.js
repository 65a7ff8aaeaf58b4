// Streamlit calls this when the page is drawn and when its theme changes. Where the page is not as the server knew it
// when it drew, one more run is asked for: once, for a server that is not told of the theme would never know better.

let asked; // the appearance that a run was asked for

// As Streamlit tells a light theme from a dark one: by the luminance of its background (WCAG), here 0 to 1.
function isDark(element) {
  const probe = document.createElement('canvas').getContext('2d');
  probe.fillStyle = getComputedStyle(element).getPropertyValue('--st-background-color');
  probe.fillRect(0, 0, 1, 1);
  const parts = [...probe.getImageData(0, 0, 1, 1).data].map(value => value / 255);
  const [r, g, b] = parts.map(one => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b <= 0.5;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const dark = isDark(parentElement);
  if (dark === data.dark) asked = undefined;
  else if (dark !== asked) setTriggerValue('switched', (asked = dark));
}
