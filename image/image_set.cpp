#include "image/image_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "dataset/npy.h"
#include "extract/ordered_pipeline.h"
#include "image/decoding_budget.h"
#include "image/unfinished_set.h"
#include "model/fingerprint.h"
#include "model/own_files.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

// What a thread prepares before it is written: pictures, and bytes of them.
constexpr std::int64_t kMostTogether = 16, kBytesTogether = 16 << 20;

// What all threads may hold of pictures that are being decoded, and again of prepared ones.
constexpr std::uint64_t kBytesOfAll = std::uint64_t{2} << 30;

// What pictures become, where it is left to the pictures: what the first sound one becomes. Nothing
// if none is sound: then all are in `broken`.
std::optional<Extent> extent_of(const ImageSource& source, const Preparation& preparation,
                                const DecodeOptions& options, std::vector<BrokenImage>& broken) {
  if (const auto extent = preparation.output()) return *extent;
  for (std::size_t i = 0; i < source.images.size(); ++i) {
    try {
      const Extent extent =
          prepare(source.decode(i, options), preparation, source.images[i].name, options.max_pixels)
              .extent;
      broken.clear();
      return extent;
    } catch (const Error& error) {
      broken.push_back({source.images[i].name, error.what()});
    }
  }
  return std::nullopt;
}

// What all threads share.
struct Making {
  const ImageSource& source;
  const Preparation& preparation;
  DecodeOptions decode;
  Extent extent;
  UnfinishedSet& set;
  std::int64_t first = 0;  // picture of the first part
  Meter& meter;
  std::int64_t together = 1;  // pictures of a part
  DecodingBudget budget{kBytesOfAll};
};

class Preparer final : public PartWorker {
 public:
  explicit Preparer(Making& making) : making_(making) {}

  void prepare(std::uint64_t part) override {
    pixels_.clear();
    broken_.clear();
    const auto [begin, end] = range(part);
    for (std::int64_t i = begin; i < end; ++i) {
      try {
        add(i);
      } catch (const Error& error) {
        broken_.push_back({i, error.what()});
      }
      making_.meter.add(1);
    }
  }

  void finish(std::uint64_t part) override {
    making_.set.append(pixels_, range(part).second, std::move(broken_));
  }

 private:
  std::pair<std::int64_t, std::int64_t> range(std::uint64_t part) const {
    const std::int64_t begin = making_.first + static_cast<std::int64_t>(part) * making_.together;
    const auto count = static_cast<std::int64_t>(making_.source.images.size());
    return {begin, std::min(begin + making_.together, count)};
  }

  void add(std::int64_t index) {
    const auto i = static_cast<std::size_t>(index);
    const std::string& name = making_.source.images[i].name;
    DecodingBudget::Share share(making_.budget);
    DecodeOptions options = making_.decode;
    options.reserve = [&](std::uint64_t bytes) { share.take(bytes); };
    Image image = mnm::prepare(making_.source.decode(i, options), making_.preparation, name,
                               options.max_pixels);
    if (image.extent != making_.extent) {
      fail("cannot take {}: it has {} x {} pixels, the first picture has {} x {}; have all resized",
           name, image.extent.width, image.extent.height, making_.extent.width,
           making_.extent.height);
    }
    if (pixels_.empty()) {
      pixels_ = std::move(image.pixels);
      return;
    }
    pixels_.insert(pixels_.end(), image.pixels.begin(), image.pixels.end());
  }

  Making& making_;
  std::vector<std::uint8_t> pixels_;
  std::vector<UnfinishedSet::Broken> broken_;
};

// As many threads as may each hold a part of so many bytes, twice while a picture is resized.
unsigned threads_for(unsigned asked, std::uint64_t part_bytes) {
  const std::uint64_t most = std::max<std::uint64_t>(kBytesOfAll / (2 * part_bytes), 1);
  return static_cast<unsigned>(std::min<std::uint64_t>(asked, most));
}

// What was read stays where it lies, unless nothing can go on from it.
void prepare_all(Making& making, unsigned threads) {
  const auto left = static_cast<std::int64_t>(making.source.images.size()) - making.set.next();
  const auto parts = static_cast<std::uint64_t>((left + making.together - 1) / making.together);
  try {
    run_in_order(parts, threads, [&] { return std::make_unique<Preparer>(making); });
  } catch (const Stopped&) {
    throw;
  } catch (const Error& error) {
    if (making.set.rows() == 0) {
      making.set.remove();
      throw;
    }
    fail("{}; the same command goes on from {}", error.what(), making.set.directory().string());
  }
  try {
    making.source.check_unchanged();
  } catch (const Error&) {
    making.set.remove();  // it is of another source now
    throw;
  }
}

std::string identity_of(const ImageSource& source, const Preparation& preparation,
                        const Extent& extent, std::int64_t max_pixels) {
  Fingerprint print;
  print.add(source.fingerprint);
  print.add(fmt::format("{}, {} channels, {} x {}, {}", preparation.text(), preparation.channels,
                        extent.height, extent.width, max_pixels));
  return print.hex();
}

std::string json_text(const nlohmann::json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

// A list of texts, written as it comes: there may be millions.
class JsonList {
 public:
  explicit JsonList(const fs::path& path) : file_(path) {}
  void add(const std::string& text) {
    constexpr std::size_t kTogether = 1 << 16;  // bytes
    waiting_ += std::exchange(first_, false) ? "[\n " : ",\n ";
    waiting_ += json_text(text, -1);
    if (waiting_.size() < kTogether) return;
    file_.write(waiting_);
    waiting_.clear();
  }
  void close() {
    waiting_ += first_ ? "[]\n" : "\n]\n";
    file_.write(waiting_);
    file_.close();
  }

 private:
  OutputFile file_;
  std::string waiting_;
  bool first_ = true;
};

// Everything but the pixels, which are at their place already. `broken` is ascending.
void write_notes(const ImageSource& source, const Preparation& preparation,
                 std::span<const UnfinishedSet::Broken> broken, const fs::path& directory) {
  std::vector<std::int64_t> labels;
  labels.reserve(source.images.size() - broken.size());
  JsonList names(directory / kNamesFile);
  nlohmann::json skipped = nlohmann::json::array();
  auto next = broken.begin();
  for (std::size_t i = 0; i < source.images.size(); ++i) {
    const ListedImage& image = source.images[i];
    if (next != broken.end() && std::cmp_equal(next->index, i)) {
      skipped.push_back({{"image", image.name}, {"why", next->why}});
      ++next;
      continue;
    }
    labels.push_back(image.label);
    names.add(image.name);
  }
  names.close();
  const auto count = static_cast<std::int64_t>(labels.size());
  OutputFile label_file(directory / kLabelsFile);
  label_file.write(npy_head("<i8", {&count, 1}));
  label_file.write(std::as_bytes(std::span(labels)));
  label_file.close();
  const auto write_json = [&](const char* name, const nlohmann::json& json) {
    OutputFile file(directory / name);
    file.write(json_text(json, 1) + "\n");
    file.close();
  };
  write_json(kClassesFile, source.classes);
  write_json(kSetFile, {{"mixnmatch",
                         {{"image_set", 1},
                          {"source", source.kind},
                          {"source_fingerprint", source.fingerprint},
                          {"preparation", preparation.text()},
                          {"skipped", skipped}}}});
}

}  // namespace

fs::path unfinished_set(const fs::path& target) {
  fs::path name = target.filename().empty() ? target.parent_path() : target;
  return name.parent_path() / fmt::format(".{}.unfinished", name.filename().string());
}

ImageSetResult make_image_set(const ImageSource& source, const Preparation& preparation,
                              const ImageSetOptions& options, const ProgressSink& progress) {
  AtomicDirectory::require_replaceable(options.target, options.replaceable);
  check(preparation, options.max_pixels);
  const DecodeOptions decode{preparation.channels, preparation.upright(), options.max_pixels};
  ImageSetResult result;
  const std::optional<Extent> extent = extent_of(source, preparation, decode, result.broken);
  if (!extent) return result;
  result.extent = *extent;
  result.channels = preparation.channels;
  const auto total = static_cast<std::int64_t>(source.images.size());
  const auto row_bytes =
      static_cast<std::uint64_t>(result.extent.height * result.extent.width * preparation.channels);

  UnfinishedSet set(unfinished_set(options.target),
                    identity_of(source, preparation, result.extent, options.max_pixels), total,
                    row_bytes);
  result.resumed = set.next();
  require_space(static_cast<std::uint64_t>(total - set.next()) * row_bytes, options.target);
  Meter meter(progress, static_cast<double>(total), kEveryStep);
  meter.go_back(static_cast<double>(set.next()));
  const std::int64_t together = std::clamp<std::int64_t>(
      kBytesTogether / static_cast<std::int64_t>(row_bytes), 1, kMostTogether);
  Making making{source, preparation, decode, result.extent, set, set.next(), meter, together};
  prepare_all(making,
              threads_for(options.threads, row_bytes * static_cast<std::uint64_t>(together)));
  meter.finish();

  for (const UnfinishedSet::Broken& image : set.broken()) {
    result.broken.push_back({source.images[static_cast<std::size_t>(image.index)].name, image.why});
  }
  result.count = set.rows();
  if (result.count == 0) set.remove();
  if (result.count == 0 || (!result.broken.empty() && !options.skip_broken)) return result;
  AtomicDirectory directory(options.target, options.replaceable);
  set.finish(result.extent, result.channels, directory.path() / kImagesFile);
  write_notes(source, preparation, set.broken(), directory.path());
  write_own_files_list(directory.path());
  directory.commit();
  set.remove();
  result.written = true;
  return result;
}

}  // namespace mnm
