// Formulas are LaTeX in the page; KaTeX, next to this file, draws them when the page is opened.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".math")) {
    const source = element.textContent;
    try {
      katex.render(source, element, { displayMode: element.tagName === "DIV", throwOnError: true });
    } catch (error) {
      console.error(source, error);
      element.textContent = source;
    }
  }
});
