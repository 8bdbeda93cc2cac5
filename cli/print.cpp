#include "cli/print.h"

namespace mnm {
namespace {

constexpr std::string_view kToLineStart = "\r", kClearToEnd = "\033[K";

void write(std::FILE* to, std::string_view bytes) {
  std::fwrite(bytes.data(), 1, bytes.size(), to);
}

}  // namespace

void write_printable(std::FILE* to, std::string_view text, std::string_view kept) {
  write(to, printable(text, kept));
}

void write_raw(std::string_view text) { write(stdout, text); }

void redraw_line(std::string_view text) {
  write(stderr, kToLineStart);
  write(stderr, printable(text));
  write(stderr, kClearToEnd);
  std::fflush(stderr);
}

}  // namespace mnm
