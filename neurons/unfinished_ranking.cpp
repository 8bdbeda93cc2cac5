#include "neurons/unfinished_ranking.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/own_file.h"
#include "model/fingerprint.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = "mixnmatch unfinished ranking\n";  // the first line
constexpr std::uint64_t kLongest = std::uint64_t{1} << 31;            // bytes of the file

std::string fingerprint_of(std::string_view text) {
  Fingerprint fingerprint;
  fingerprint.add(text);
  return fingerprint.hex();
}

std::string line_of(const RankedLayer& layer) {
  const std::string text =
      nlohmann::json{{"order", layer.order}, {"means", layer.means}}.dump() + "\n";
  return fingerprint_of(text) + " " + text;
}

// Nothing unless add() can have written the line for this layer. `line` ends with its line end.
std::optional<RankedLayer> parse_line(std::string_view line, const LayerNeurons& neurons,
                                      bool with_means) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view text = line.substr(space + 1);
  if (line.substr(0, space) != fingerprint_of(text)) return std::nullopt;
  RankedLayer layer;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    json.at("order").get_to(layer.order);
    json.at("means").get_to(layer.means);
    require_bijection(layer.order, neurons.count);
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
  const std::int64_t means = with_means ? neurons.count * neurons.channels_each() : 0;
  if (std::cmp_not_equal(layer.means.size(), means)) return std::nullopt;
  return layer;
}

// Whether there is a file. Error if it is no file that an earlier call can have made.
bool is_there(const fs::path& file) {
  struct stat status {};
  if (lstat(file.c_str(), &status) != 0) {
    if (errno == ENOENT) return false;
    fail("cannot read {}: {}", file.string(), std::strerror(errno));
  }
  if (!is_own_file(status)) {
    fail(
        "cannot write {}: it is no regular file with one name that belongs to this user, so no "
        "earlier run made it; move it away",
        file.string());
  }
  return true;
}

// Why layers that were ranked with settings `was` are not those that are asked for.
std::string difference(const fs::path& file, const nlohmann::json& was, const nlohmann::json& is) {
  for (const auto& [name, value] : is.items()) {
    const auto before = was.find(name);
    if (before != was.end() && *before == value) continue;
    return fmt::format(
        "{} is not used, and calibration begins anew: its layers were calibrated with {} {}, this "
        "run has {}",
        file.string(), name, before == was.end() ? "nothing" : before->dump(), value.dump());
  }
  return fmt::format(
      "{} is not used, and calibration begins anew: its layers were calibrated with settings that "
      "this program does not know",
      file.string());
}

}  // namespace

UnfinishedRanking::UnfinishedRanking(fs::path file, const nlohmann::json& settings,
                                     const std::vector<LayerNeurons>& layers, bool with_means)
    : file_(std::move(file)), text_(std::string(kMark) + settings.dump() + "\n") {
  if (is_there(file_)) read(settings, layers, with_means);
  resumed_ = layers_.size();
}

void UnfinishedRanking::read(const nlohmann::json& settings,
                             const std::vector<LayerNeurons>& layers, bool with_means) {
  const std::string text = read_text(file_, kLongest);
  if (!text.starts_with(kMark)) {
    fail("cannot write {}: it is not what an earlier run left; move it away", file_.string());
  }
  const std::size_t end = text.find('\n', kMark.size());
  const auto was =
      nlohmann::json::parse(text.substr(kMark.size(), end - kMark.size()), nullptr, false);
  if (end == std::string::npos || !was.is_object()) {
    left_aside_ = fmt::format("{} is damaged, and calibration begins anew", file_.string());
    return;
  }
  if (was != settings) {
    left_aside_ = difference(file_, was, settings);
    return;
  }
  for (std::size_t at = end + 1; at < text.size();) {
    const std::size_t next = std::min(text.find('\n', at), text.size() - 1) + 1;
    const std::string_view line = std::string_view(text).substr(at, next - at);
    std::optional<RankedLayer> layer;
    if (layers_.size() < layers.size()) {
      layer = parse_line(line, layers[layers_.size()], with_means);
    }
    if (!layer) {
      left_aside_ =
          fmt::format("{} is damaged after its first {} layers, and calibration goes on from there",
                      file_.string(), layers_.size());
      return;
    }
    layers_.push_back(std::move(*layer));
    text_ += line;
    at = next;
  }
}

void UnfinishedRanking::add(RankedLayer layer) {
  text_ += line_of(layer);
  layers_.push_back(std::move(layer));
  is_there(file_);  // nothing of somebody else is written over
  write_file_atomically(file_, text_);
}

void UnfinishedRanking::remove() const { ::unlink(file_.c_str()); }

fs::path unfinished_ranking(const fs::path& target) {
  const fs::path name = target.filename().empty() ? target.parent_path() : target;
  return name.parent_path() / fmt::format(".{}.unfinished", name.filename().string());
}

}  // namespace mnm
