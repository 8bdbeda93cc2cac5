#include "report/html.h"

#include <fmt/format.h>

#include <utility>

#include "report/escape.h"

namespace mnm {

// Made by mnm_embed from the files of these names.
extern const std::string_view kPageHtml, kPageCss, kPageJs, kChartJs, kChartJsLicence;

std::string json_in_script(const nlohmann::ordered_json& value) {
  const std::string text =
      printable_json(value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    // These occur in strings alone, where an escape means the same.
    if (c == '<') {
      safe += "\\u003c";
    } else if (c == '>') {
      safe += "\\u003e";
    } else if (c == '&') {
      safe += "\\u0026";
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string html_text(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

namespace {

// Marks of writing direction would show a wrong order in a browser as in a terminal.
nlohmann::ordered_json with_printable_texts(nlohmann::ordered_json value) {
  if (value.is_string()) return printable(value.get_ref<const std::string&>(), "\n");
  if (value.is_structured()) {
    for (auto& part : value) part = with_printable_texts(std::move(part));
  }
  return value;
}

constexpr std::string_view kHead = "<!doctype html>\n<html lang=\"en\">\n<head>\n";
constexpr std::string_view kTitle = "<title>mixnmatch: evidence</title>\n";

}  // namespace

bool is_evidence_page(std::string_view text) {
  return text.starts_with(kHead) && text.find(kTitle) != std::string_view::npos;
}

std::string evidence_page(const nlohmann::ordered_json& evidence) {
  // The policy lets the page load nothing, from the network or from the disk.
  return fmt::format(
      "{}<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "{}<style>\n{}</style>\n</head>\n<body>\n{}"
      "<details><summary>Chart.js, which draws the charts, and its licence</summary>\n"
      "<pre>{}</pre></details>\n"
      "<script type=\"application/json\" id=\"report\">{}</script>\n"
      "<script>\n{}\n</script>\n<script>\n{}</script>\n</body>\n</html>\n",
      kHead, kTitle, kPageCss, kPageHtml, html_text(kChartJsLicence),
      json_in_script(with_printable_texts(evidence)), kChartJs, kPageJs);
}

}  // namespace mnm
