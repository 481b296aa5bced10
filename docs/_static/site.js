// A browser refuses to fetch the excerpts of search results for pages that were opened from a disk.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

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
