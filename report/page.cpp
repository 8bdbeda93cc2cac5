#include "report/page.h"

#include <fmt/format.h>

namespace mnm {

// Made by mnm_embed from the files of these names.
extern const std::string_view kPageHtml, kPageCss, kPageJs, kChartJs, kChartJsLicence;

std::string json_in_script(const nlohmann::ordered_json& value) {
  const std::string text =
      value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  std::string safe;
  safe.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = std::string_view(text).substr(i);
    // These occur in strings alone, where an escape means the same.
    if (rest.front() == '<') {
      safe += "\\u003c";
    } else if (rest.front() == '>') {
      safe += "\\u003e";
    } else if (rest.front() == '&') {
      safe += "\\u0026";
    } else if (rest.starts_with("\u2028") || rest.starts_with("\u2029")) {
      safe += rest.starts_with("\u2028") ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      safe += rest.front();
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

std::string evidence_page(const nlohmann::ordered_json& evidence) {
  // The policy lets the page load nothing, from the network or from the disk.
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>mixnmatch: evidence</title>\n<style>\n{}</style>\n</head>\n<body>\n{}"
      "<details><summary>Chart.js, which draws the charts, and its licence</summary>\n"
      "<pre>{}</pre></details>\n"
      "<script type=\"application/json\" id=\"report\">{}</script>\n"
      "<script>\n{}\n</script>\n<script>\n{}</script>\n</body>\n</html>\n",
      kPageCss, kPageHtml, html_text(kChartJsLicence), json_in_script(evidence), kChartJs, kPageJs);
}

}  // namespace mnm
