#include "image/image_set.h"

#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/error_of.h"
#include "tests/support/pictures.h"
#include "tests/support/tar_of.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;

constexpr int kPictures = 50, kCut = 7, kText = 33;  // of which two are broken

class ImageSet : public ::testing::Test {
 protected:
  ImageSet() {
    for (int i = 0; i < kPictures; ++i) {
      const fs::path folder = root_ / (i % 2 == 0 ? "even" : "odd");
      fs::create_directories(folder);
      std::string file = test::png_of(test::picture(20 + i % 5, 30, 3, static_cast<unsigned>(i)));
      if (i == kCut) file.resize(file.size() / 2);
      if (i == kText) file = "no picture";
      test::spew(folder / fmt::format("{:02}.png", i), file);
    }
    preparation_.fit = Fit::kSquash;
    preparation_.size = {12, 10};
  }

  ImageSetResult make(const fs::path& target, bool skip, unsigned threads = 1,
                      const ProgressSink& sink = {}) const {
    const auto source = open_image_source(std::vector{root_.path()}, {});
    ImageSetOptions options;
    options.target = target;
    options.skip_broken = skip;
    options.threads = threads;
    return make_image_set(*source, preparation_, options, sink);
  }

  static std::vector<std::string> files_of(const fs::path& set) {
    std::vector<std::string> files;
    for (const char* name : {kImagesFile, kLabelsFile, kClassesFile, kNamesFile, kSetFile}) {
      files.push_back(test::slurp(set / name));
    }
    return files;
  }

  test::TempDir root_, out_;
  Preparation preparation_;
};

TEST_F(ImageSet, HoldsTheSoundPicturesInOrder) {
  const ImageSetResult result = make(out_ / "set", true);
  EXPECT_TRUE(result.written);
  EXPECT_EQ(result.count, kPictures - 2);
  ASSERT_EQ(result.broken.size(), 2u);
  EXPECT_EQ(result.broken[0].name, "odd/07.png");
  EXPECT_TRUE(contains(result.broken[0].why, "odd/07.png")) << result.broken[0].why;
  EXPECT_TRUE(contains(result.broken[1].why, "neither JPEG nor PNG"));

  const std::string images = test::slurp(out_ / "set/images.npy");
  EXPECT_TRUE(contains(images.substr(0, 128), "'shape': (48, 12, 10, 3)"));
  ASSERT_EQ(images.size(), 128u + 48 * 360);
  const std::string labels = test::slurp(out_ / "set/labels.npy");
  const auto names = nlohmann::json::parse(test::slurp(out_ / "set/names.json"));
  ASSERT_EQ(names.size(), 48u);
  ASSERT_EQ(labels.size(), 128u + 48 * 8);
  std::size_t row = 0;
  for (const std::string name : names) {
    const int number = std::stoi(name.substr(name.find('/') + 1));
    const Image expected = prepare(
        test::picture(20 + number % 5, 30, 3, static_cast<unsigned>(number)), preparation_, name);
    EXPECT_EQ(std::string(expected.pixels.begin(), expected.pixels.end()),
              images.substr(128 + row * 360, 360))
        << name;
    EXPECT_EQ(labels[128 + 8 * row], number % 2) << name;
    ++row;
  }
  EXPECT_EQ(nlohmann::json::parse(test::slurp(out_ / "set/classes.json")),
            (nlohmann::json{"even", "odd"}));
  EXPECT_FALSE(fs::exists(unfinished_set(out_ / "set")));
}

// Pictures are told apart by their number, whatever a source calls them.
TEST_F(ImageSet, LabelsStayWithTheirPicturesWhereNamesAreAlike) {
  std::string archive;
  for (int i = 0; i < 5; ++i) {
    const std::string png = i == 2 ? "no picture" : test::png_of(test::picture(4, 4, 3));
    archive += test::tar_member(fmt::format("{}.png", i), png) +
               test::tar_member(fmt::format("{}.cls", i), std::to_string(i));
  }
  test::spew(out_ / "a.tar", archive + test::kTarEnd);
  const auto source = open_image_source(std::vector{out_ / "a.tar"}, {});
  for (ListedImage& image : source->images) image.name = "same.png";
  ImageSetOptions options;
  options.target = out_ / "set";
  options.skip_broken = true;
  EXPECT_EQ(make_image_set(*source, preparation_, options, {}).count, 4);
  const std::string labels = test::slurp(out_ / "set/labels.npy");
  ASSERT_EQ(labels.size(), 128u + 4 * 8);
  for (const auto& [row, label] : {std::pair(0u, 0), {1u, 1}, {2u, 3}, {3u, 4}}) {
    EXPECT_EQ(labels[128 + 8 * row], label) << row;
  }
}

TEST_F(ImageSet, BytesDoNotDependOnThreads) {
  make(out_ / "one", true, 1);
  make(out_ / "many", true, 5);
  EXPECT_EQ(files_of(out_ / "one"), files_of(out_ / "many"));
}

// Pictures of which each takes all that threads share. One more may be decoded beside it.
class LargePictures final : public ImageSource {
 public:
  LargePictures() {
    kind = "test";
    classes = {"one"};
    for (int i = 0; i < 160; ++i) images.push_back({std::to_string(i), 0});
  }
  Image decode(std::size_t, const DecodeOptions& options) const override {
    if (!options.reserve) fail("nothing is reserved");
    options.reserve(std::uint64_t{2} << 30);
    const int now = ++decoding;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    for (int i = 0; i < 20; ++i) std::this_thread::yield();
    --decoding;
    return test::picture(2, 2, 3);
  }
  mutable std::atomic<int> decoding = 0, most = 0;
};

TEST_F(ImageSet, ThreadsShareTheMemoryOfPicturesThatAreDecoded) {
  const LargePictures source;
  ImageSetOptions options;
  options.target = out_ / "set";
  options.threads = 8;
  const ImageSetResult result = make_image_set(source, preparation_, options, {});
  EXPECT_TRUE(result.written);
  EXPECT_EQ(result.count, 160);
  EXPECT_LE(source.most, 2);
}

TEST_F(ImageSet, BrokenPicturesAreAllListedAndNothingIsWritten) {
  const ImageSetResult result = make(out_ / "set", false);
  EXPECT_FALSE(result.written);
  EXPECT_EQ(result.broken.size(), 2u);
  EXPECT_FALSE(fs::exists(out_ / "set"));
  // What was decoded stays: only the decision is new.
  EXPECT_EQ(make(out_ / "set", true).resumed, kPictures);
}

TEST_F(ImageSet, AStoppedCallIsGoneOnWith) {
  make(out_ / "whole", true);
  std::int64_t resumed = 0;
  for (int attempt = 0;; ++attempt) {
    ASSERT_LT(attempt, kPictures);
    int calls = 0;
    const ProgressSink sink = [&](const Progress&) { return ++calls < 20; };
    try {
      const ImageSetResult result = make(out_ / "set", true, 1, sink);
      resumed = result.resumed;
      break;
    } catch (const Stopped&) {
      EXPECT_FALSE(fs::exists(out_ / "set"));
    }
  }
  EXPECT_GT(resumed, 16);
  EXPECT_EQ(files_of(out_ / "whole"), files_of(out_ / "set"));
}

TEST_F(ImageSet, AKilledProcessLeavesASoundBeginning) {
  make(out_ / "whole", true);
  const fs::path left = unfinished_set(out_ / "set");
  const auto leave = [&] {
    int calls = 0;
    const auto stop = [&](const Progress&) { return ++calls < 40; };
    EXPECT_THROW(make(out_ / "set", true, 1, stop), Stopped);
  };
  // A line cut in the middle, pixels that are not there, another source, a journal hardly begun.
  const auto journal = [&] { return test::slurp(left / "journal"); };
  const std::string mark = "mixnmatch unfinished image set ";
  const std::vector<std::function<void()>> damages = {
      [&] { test::spew(left / "journal", journal().substr(0, journal().size() - 3)); },
      [&] { fs::resize_file(left / kImagesFile, 1000); },
      [&] { test::spew(left / "journal", mark + "another\n{\"next\":50,\"broken\":{}}\n"); },
      [&] {
        test::spew(left / "journal", mark.substr(0, 9));
        fs::resize_file(left / kImagesFile, 0);
      }};
  for (std::size_t i = 0; i < damages.size(); ++i) {
    fs::remove_all(out_ / "set");
    leave();
    damages[i]();
    make(out_ / "set", true);
    EXPECT_EQ(files_of(out_ / "whole"), files_of(out_ / "set")) << i;
  }
}

TEST_F(ImageSet, PicturesOfOtherSizesAreBrokenWhereSizesAreKept) {
  preparation_.fit = Fit::kKeep;
  const ImageSetResult result = make(out_ / "set", true);
  EXPECT_EQ(result.extent, (Extent{20, 30}));
  EXPECT_EQ(result.count, 10);
  EXPECT_TRUE(contains(result.broken.back().why, "the first picture has 30 x 20"));
}

TEST_F(ImageSet, AllPicturesAreListedIfAllAreBroken) {
  const test::TempDir broken;
  fs::create_directories(broken / "one");
  for (const char* name : {"a.png", "b.jpg", "c.png"}) {
    test::spew(broken / "one" / name, "no picture");
  }
  const auto source = open_image_source(std::vector{broken.path()}, {});
  for (const Fit fit : {Fit::kSquash, Fit::kKeep}) {
    preparation_.fit = fit;
    ImageSetOptions options;
    options.target = out_ / "set";
    const ImageSetResult result = make_image_set(*source, preparation_, options, {});
    EXPECT_FALSE(result.written);
    EXPECT_EQ(result.count, 0);
    ASSERT_EQ(result.broken.size(), 3u);
    EXPECT_EQ(result.broken[1].name, "one/b.jpg");
    EXPECT_FALSE(fs::exists(unfinished_set(options.target)));
  }
  preparation_.fit = Fit::kSquash;
  EXPECT_FALSE(make(out_ / "set", false).written);
  EXPECT_TRUE(fs::exists(unfinished_set(out_ / "set"))) << "of which 48 are sound";
}

TEST_F(ImageSet, AFileIsNoPlaceForASetWhateverItsNameEndsIn) {
  test::spew(out_ / "r.db", std::string("SQLite format 3\0", 16) + std::string(84, '\0'));
  test::spew(out_ / "notes.txt", "text");
  for (const char* name : {"r.db", "r.db/", "r.db/.", "notes.txt", "notes.txt//"}) {
    int calls = 0;
    const std::string error =
        error_of([&] { make(out_ / name, true, 1, [&](const Progress&) { return ++calls > 0; }); });
    EXPECT_NE(error, "") << name;
    EXPECT_EQ(calls, 0) << name;
  }
  EXPECT_FALSE(fs::exists(unfinished_set(out_ / "r.db")));
  EXPECT_FALSE(fs::exists(unfinished_set(out_ / "notes.txt")));
}

TEST_F(ImageSet, ASetIsNotReplacedUnasked) {
  make(out_ / "set", true);
  EXPECT_NE(error_of([&] { make(out_ / "set", true); }), "");
}

}  // namespace
}  // namespace mnm
