#include "image/image_source.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>

#include <string>
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
using test::kTarEnd;
using test::tar_member;

std::unique_ptr<ImageSource> open_one(const fs::path& path, const SourceOptions& options = {}) {
  return open_image_source(std::vector<fs::path>{path}, options);
}

std::vector<std::string> names(const ImageSource& source) {
  std::vector<std::string> all;
  for (const ListedImage& image : source.images) {
    all.push_back(fmt::format("{}={}", image.name, image.label));
  }
  return all;
}

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

// Of an IDX file of pictures.
std::string header(std::uint32_t count, std::uint32_t height, std::uint32_t width) {
  return big_endian(0x803) + big_endian(count) + big_endian(height) + big_endian(width);
}

std::string gzip(const std::string& text) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + 100, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

TEST(ImageSource, AFolderIsListedAsTorchvisionListsIt) {
  const test::TempDir root;
  for (const char* folder : {"dog", "cat/deep", "cat/b", "empty"}) {
    fs::create_directories(root / folder);
  }
  const std::string png = test::png_of(test::picture(2, 3, 3));
  for (const char* name : {"dog/2.PNG", "dog/10.jpeg", "cat/z.png", "cat/deep/a.png",
                           "cat/b/a.webp", "cat/notes.txt", "outside.png"}) {
    test::spew(root / name, png);
  }
  fs::create_symlink(root / "dog/2.PNG", root / "dog/link.png");
  const auto source = open_one(root.path());
  EXPECT_EQ(source->classes, (std::vector<std::string>{"cat", "dog", "empty"}));
  EXPECT_EQ(names(*source),
            (std::vector<std::string>{"cat/z.png=0", "cat/b/a.webp=0", "cat/deep/a.png=0",
                                      "dog/10.jpeg=1", "dog/2.PNG=1", "dog/link.png=1"}));
  EXPECT_EQ(source->decode(0, {}).pixels, test::picture(2, 3, 3).pixels);
  const std::string before = source->fingerprint;
  EXPECT_EQ(open_one(root.path())->fingerprint, before);
  test::spew(root / "dog/3.png", png);
  EXPECT_NE(open_one(root.path())->fingerprint, before);
}

TEST(ImageSource, NoPictureOfAFolderIsLeftOutInSilence) {
  const test::TempDir root, elsewhere;
  fs::create_directories(root / "cat");
  fs::create_directories(elsewhere / "dog/deep");
  const std::string png = test::png_of(test::picture(2, 3, 3));
  test::spew(root / "cat/a.png", png);
  test::spew(root / "of_no_class.png", png);
  test::spew(elsewhere / "dog/deep/b.png", png);
  test::spew(elsewhere / "dog/c.png", png);
  // A class is a link, and a link below a class leads to a folder.
  fs::create_directory_symlink(elsewhere / "dog", root / "dog");
  fs::create_directory(elsewhere / "more");
  test::spew(elsewhere / "more/d.png", png);
  fs::create_directory_symlink(elsewhere / "more", root / "cat/more");
  fs::create_symlink(root / "gone", root / "cat/gone.jpg");
  ASSERT_EQ(mkfifo((root / "cat/pipe.png").c_str(), 0600), 0);
  const auto source = open_one(root.path());
  EXPECT_EQ(names(*source),
            (std::vector<std::string>{"cat/a.png=0", "cat/gone.jpg=0", "cat/pipe.png=0",
                                      "cat/more/d.png=0", "dog/c.png=1", "dog/deep/b.png=1"}));
  EXPECT_EQ(source->without_class, 1);
  EXPECT_TRUE(contains(error_of([&] { source->decode(1, {}); }), "gone.jpg"));
  EXPECT_TRUE(contains(error_of([&] { source->decode(2, {}); }), "a device or pipe"));
}

TEST(ImageSource, AFolderIsEnteredOnceAndALinkLeadsSomewhere) {
  const test::TempDir root;
  fs::create_directories(root / "cat/deep");
  fs::create_directory(root / "dog");
  const auto linked = [&](const fs::path& to) {
    fs::create_symlink(to, root / "cat/deep/link");
    const std::string error = error_of([&] { open_one(root.path()); });
    fs::remove(root / "cat/deep/link");
    return error;
  };
  for (const fs::path& to : {fs::path("."), fs::path(".."), root.path(), root / "dog"}) {
    EXPECT_TRUE(contains(linked(to), "are one folder")) << to << ": " << linked(to);
  }
  for (const fs::path& to : {fs::path("gone"), fs::path("link")}) {
    EXPECT_TRUE(contains(linked(to), "cat/deep/link' cannot be followed"))
        << to << ": " << linked(to);
  }
  fs::create_symlink("gone", root / "bird");
  EXPECT_TRUE(contains(error_of([&] { open_one(root.path()); }), "bird' cannot be followed"));
}

TEST(ImageSource, MnistsFilesAreReadGzippedToo) {
  const test::TempDir root;
  const Image first = test::picture(3, 4, 1, 1), second = test::picture(3, 4, 1, 2);
  std::string pictures = big_endian(0x803) + big_endian(2) + big_endian(3) + big_endian(4);
  pictures.append(first.pixels.begin(), first.pixels.end());
  pictures.append(second.pixels.begin(), second.pixels.end());
  const std::string labels = big_endian(0x801) + big_endian(2) + "\x07\x02";
  test::spew(root / "t-images-idx3-ubyte", pictures);
  test::spew(root / "t-labels-idx1-ubyte.gz", gzip(labels));
  test::spew(root / "z-images-idx3-ubyte.gz", gzip(pictures));
  test::spew(root / "z-labels-idx1-ubyte", labels);
  for (const char* name : {"t-images-idx3-ubyte", "z-images-idx3-ubyte.gz"}) {
    const auto source = open_one(root / name);
    EXPECT_EQ(names(*source), (std::vector<std::string>{"0=7", "1=2"}));
    EXPECT_EQ(source->classes.size(), 8u);
    EXPECT_EQ(source->decode(1, {.channels = 1}).pixels, second.pixels);
    EXPECT_EQ(source->decode(0, {}).pixels, in_channels(first, 3).pixels);
  }
  struct Case {
    std::string pictures, labels, phrase;
  };
  for (const auto& [bytes, label_bytes, phrase] : std::vector<Case>{
           {pictures + "x", labels, "says 24 bytes of data, it holds more"},
           {pictures.substr(0, 30), labels, "says 24 bytes of data, it holds 14"},
           {labels, labels, "it is no IDX file of pictures"},
           {"", labels, "it is no IDX file of pictures"},
           {big_endian(0x803) + std::string(12, '\xff'), labels, "which are too large"},
           {gzip(pictures).substr(0, 25), labels, "the gzip file is truncated"},
           // What a header says is judged before the data is unzipped, which here is none.
           {gzip(header(1000, 1000, 1000)), labels, "a gzip file of"},
           {gzip(header(1 << 20, 1 << 10, 1 << 4)), labels, "unpack it first: gunzip < "},
           {gzip(header(20, 4, 4)), labels, "has 20 pictures, and"},
           {header((1u << 24) + 1, 1, 1), labels, "the limit is 16777216; split it"},
           {header(1, 1, (1u << 16) + 1), labels, "sides of at most 65536"},
           {gzip(header(1 << 20, 1, 1) + std::string(1 << 20, '\0')), labels,
            "the limit is one for each byte; unpack it first: gunzip < "},
           {header(2, 0, 0), labels, "expected at least 1 pixel"},
           {header(4000000000u, 0, 1), labels, "the limit is"},
           {pictures, big_endian(0x801) + big_endian(4000000000u), "the limit is"},
           {pictures, big_endian(0x801) + big_endian(1) + "\x01", "has 2 pictures, and"},
           {big_endian(0x803) + std::string(12, '\0'), big_endian(0x801) + big_endian(0),
            "it holds none"}}) {
    test::spew(root / "b-images-idx3-ubyte", bytes);
    test::spew(root / "b-labels-idx1-ubyte", label_bytes);
    const std::string error = error_of([&] { open_one(root / "b-images-idx3-ubyte"); });
    EXPECT_TRUE(contains(error, phrase)) << error << " / " << phrase;
  }
  EXPECT_TRUE(contains(error_of([&] {
                         open_one(root / "t-images-idx3-ubyte", {{}, {"a"}});
                       }),
                       "0 has label 7, but there are 1 names"));
}

TEST(ImageSource, AFileTooLargeForAPictureIsNotRead) {
  const test::TempDir root;
  fs::create_directory(root / "cat");
  test::spew(root / "cat/a.png", test::png_of(test::picture(2, 3, 3)));
  fs::resize_file(root / "cat/a.png", std::uint64_t{6} << 30);  // its end is a hole
  test::spew(root / "a.tar", tar_member("0.png", std::string((16u << 20) + 41, 'x')) +
                                 tar_member("0.cls", "0") + kTarEnd);
  EXPECT_TRUE(contains(error_of([&] { open_one(root.path())->decode(0, {}); }),
                       "its file has 6442450944 bytes, the limit is 732605096"));
  EXPECT_TRUE(contains(error_of([&] { open_one(root / "a.tar")->decode(0, {.max_pixels = 10}); }),
                       "its file has 16777257 bytes, the limit is 16777256 for 10 pixels"));
}

TEST(ImageSource, AnArchiveThatIsWrittenMeanwhileIsSeen) {
  const test::TempDir root;
  const std::string png = test::png_of(test::picture(2, 3, 3));
  const std::string archive = tar_member("0.png", png) + tar_member("0.cls", "0") + kTarEnd;
  test::spew(root / "a.tar", archive);
  const auto source = open_one(root / "a.tar");
  source->check_unchanged();
  test::spew(root / "a.tar", archive);
  EXPECT_TRUE(contains(error_of([&] { source->check_unchanged(); }), "was written or replaced"));
}

TEST(ImageSource, AWebDatasetPairsMembersOfOneKey) {
  const test::TempDir root;
  const std::string jpeg = test::jpeg_of(test::picture(8, 8, 3));
  const std::string png = test::png_of(test::picture(2, 2, 3, 9));
  test::spew(root / "0.tar", tar_member("_info.json", "{}") + tar_member("s/0.1.cls", "3") +
                                 tar_member("s/0.jpg", jpeg) + kTarEnd);
  // "s/0" is the key of both: what follows its first point is the kind.
  EXPECT_TRUE(contains(error_of([&] { open_one(root / "0.tar"); }), "'s/0.jpg' has no class"));
  test::spew(root / "0.tar", tar_member("_info.json", "{}") + tar_member("s/0.cls", "3\n") +
                                 tar_member("s/0.jpg", jpeg) + tar_member("s/0.txt", "?") +
                                 kTarEnd);
  test::spew(root / "1.tar", tar_member("s/0.png", png) + tar_member("s/0.cls", "1") + kTarEnd);
  const auto source = open_image_source(std::vector{root / "0.tar", root / "1.tar"}, {});
  EXPECT_EQ(names(*source), (std::vector<std::string>{"0.tar/s/0.jpg=3", "1.tar/s/0.png=1"}));
  EXPECT_EQ(source->classes.size(), 4u);
  EXPECT_EQ(source->decode(1, {}).pixels, test::picture(2, 2, 3, 9).pixels);
  struct Case {
    std::string archive, phrase;
  };
  for (const auto& [archive, phrase] : std::vector<Case>{
           {tar_member("a.jpg", jpeg), "'a.jpg' has no class"},
           {tar_member("a.cls", "1"), "'a' has a class and no picture"},
           {tar_member("a.cls", "x") + tar_member("a.jpg", jpeg), "holds no number of a class"},
           {tar_member("a.cls", "1 2") + tar_member("a.jpg", jpeg), "holds no number of a class"},
           {tar_member("a.cls", "-1") + tar_member("a.jpg", jpeg), "has label -1"},
           {tar_member("a.jpg", jpeg) + tar_member("a.png", png), "the second picture of its key"},
           {tar_member("a.cls", "1") + tar_member("a.jpg", jpeg) + tar_member("a.cls", "2"),
            "the second class of its key"},
           {tar_member("a.jpg", jpeg) + tar_member("a.cls", "1") + tar_member("b.cls", "1") +
                tar_member("b.jpg", jpeg) + tar_member("a.txt", ""),
            "members of 'a' do not follow each other"},
           {tar_member("notes.txt", "x"), "it holds none"}}) {
    test::spew(root / "b.tar", archive + kTarEnd);
    const std::string error = error_of([&] { open_one(root / "b.tar"); });
    EXPECT_TRUE(contains(error, phrase)) << error << " / " << phrase;
  }
}

TEST(ImageSource, ArchivesOfOneNameAreToldApartByTheirFolders) {
  const test::TempDir root;
  const std::string archive = tar_member("0.png", test::png_of(test::picture(2, 2, 3))) +
                              tar_member("0.cls", "0") + kTarEnd;
  for (const char* folder : {"a/s", "b/s", "c/s"}) {
    fs::create_directories(root / folder);
    test::spew(root / folder / "0.tar", archive);
  }
  const auto named = [&](std::vector<fs::path> paths) {
    return names(*open_image_source(paths, {}));
  };
  EXPECT_EQ(named({root / "a/s/0.tar", root / "b/s/0.tar"}),
            (std::vector<std::string>{"a/s/0.tar/0.png=0", "b/s/0.tar/0.png=0"}));
  test::spew(root / "c/s/1.tar", archive);
  EXPECT_EQ(named({root / "a/s/0.tar", root / "c/s/1.tar"}),
            (std::vector<std::string>{"0.tar/0.png=0", "1.tar/0.png=0"}));
  EXPECT_TRUE(contains(test::usage_error_of([&] {
                         named({root / "a/s/0.tar", root / "a/s/../s/0.tar"});
                       }),
                       "is given twice"));
}

TEST(ImageSource, AnErrorSaysWhichSourcesThereAre) {
  const test::TempDir root;
  EXPECT_TRUE(contains(error_of([&] { open_one(root / "gone"); }), "there is no"));
  EXPECT_TRUE(contains(error_of([&] { open_one(root.path()); }), "it has no folders"));
  for (const auto& [packed, unpacked] :
       {std::pair("a.tar.gz", "a.tar"), std::pair("b.tgz", "b.tar")}) {
    test::spew(root / packed, gzip("x"));
    const std::string error = error_of([&] { open_one(root / packed); });
    const std::string command =
        "gunzip < " + (root / packed).string() + " > " + (root / unpacked).string();
    EXPECT_TRUE(contains(error, command)) << error;
  }
  test::spew(root / "c.tar.zst", "x");
  EXPECT_TRUE(contains(error_of([&] { open_one(root / "c.tar.zst"); }), "unpack it first"));
}

}  // namespace
}  // namespace mnm
