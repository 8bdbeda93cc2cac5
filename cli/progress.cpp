#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <utility>

#include "base/quantity.h"
#include "cli/print.h"

namespace mnm {
namespace {

constexpr std::size_t kBar = 24;
constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::chrono::seconds kLine{10};

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)), terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::clear() {
  if (!drawn_) return;
  redraw_line("");
  drawn_ = false;
}

void ProgressBar::show(double fraction, std::string_view text) {
  const auto now = Clock::now();
  const bool due = terminal_ ? !drawn_ || now - last_ >= kRedraw : now - last_ >= kLine;
  if (!due) return;
  last_ = now;
  fraction = std::clamp(fraction, 0.0, 1.0);
  if (!terminal_) {
    mnm::note("{} {:3.0f} %  {}\n", label_, 100 * fraction, text);
    return;
  }
  const auto filled = static_cast<std::size_t>(fraction * kBar);
  std::string line = fmt::format("{} [{}{}] {:3.0f} %  {}", label_, std::string(filled, '='),
                                 std::string(kBar - filled, ' '), 100 * fraction, text);
  line.resize(std::min(line.size(), terminal_columns() - 1));
  redraw_line(line);
  drawn_ = true;
}

void ProgressBar::note(std::string_view line) {
  clear();
  mnm::note("{}\n", line);
}

double ProgressBar::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

double seconds_left(double fraction, double elapsed) {
  if (fraction <= 0 || elapsed <= 0) return std::numeric_limits<double>::infinity();
  return elapsed * (1 - fraction) / fraction;
}

ProgressSink shown_on(ProgressBar& bar, const InterruptGuard& guard) {
  return [&](const Progress& progress) {
    const double left = seconds_left(progress.share(), bar.seconds());
    bar.show(progress.share(), fmt::format("{} left", duration_text(left)));
    return !guard.interrupted();
  };
}

ProgressSink bytes_shown_on(ProgressBar& bar, const InterruptGuard& guard) {
  return [&](const Progress& progress) {
    const double seconds = bar.seconds();
    const double rate = seconds > 0 ? progress.done / seconds : 0;
    bar.show(progress.share(), fmt::format("{}B of {}B, {}B/s, {} left", quantity(progress.done),
                                           quantity(progress.total), quantity(rate),
                                           duration_text(seconds_left(progress.share(), seconds))));
    return !guard.interrupted();
  };
}

ProgressSink writing_shown_on(std::optional<ProgressBar>& bar, const InterruptGuard& guard) {
  return [&bar, &guard](const Progress& now) {
    if (now.done >= now.total) {
      bar.reset();
      return !guard.interrupted();
    }
    if (!bar) bar.emplace("writing");
    return bytes_shown_on(*bar, guard)(now);
  };
}

}  // namespace mnm
