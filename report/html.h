// The page of evidence: one HTML file that needs no network, with its data, its program and the
// library that draws its charts (Chart.js, MIT) inside. Its text is in page.html, page.css and
// page.js.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace mnm {

// `evidence` is what page.js reads; study/evidence.h makes it.
std::string evidence_page(const nlohmann::ordered_json& evidence);

// Whether a text begins as such a page does.
bool is_evidence_page(std::string_view text);

// JSON that may stand inside <script>: no character that could end the element or begin a comment
// in it, and none that JavaScript takes for an end of line. What is not UTF-8 becomes U+FFFD.
std::string json_in_script(const nlohmann::ordered_json& value);

// Text as HTML shows it.
std::string html_text(std::string_view text);

}  // namespace mnm
