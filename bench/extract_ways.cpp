// What each way of copying a slice buys (the table in extract/extract.h): each case is timed as
// Extractor takes it and as a plain loop does that reads into one buffer and writes it.
//
//   extract_ways [DIR] [MB]
//
// Writes a checkpoint of MB (256) megabytes into a new directory in DIR (the one for temporary
// files), and removes it. Seconds per gigabyte of output, of the clock and of the processors: the
// best of five rounds, the two ways taking turns.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "extract/extract.h"
#include "extract/slice_reader.h"
#include "model/safetensors.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kRow = 16384;  // f32 elements of a row: 64 KiB
constexpr int kRounds = 5;

struct Seconds {
  double clock = std::numeric_limits<double>::infinity();
  double processors = std::numeric_limits<double>::infinity();
};

double processor_seconds() {
  rusage used = {};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

void time(const std::function<void()>& work, Seconds& best) {
  const double before = processor_seconds();
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> clock = std::chrono::steady_clock::now() - start;
  best.clock = std::min(best.clock, clock.count());
  best.processors = std::min(best.processors, processor_seconds() - before);
}

struct Case {
  const char* way;
  TensorSlice slice;
  Dtype dtype = Dtype::kF32;
  bool cold = false;       // the page cache has nothing of the source
  std::uint64_t lead = 0;  // bytes of the output before the slice: 0 puts its pages in step
};

// The tensor begins with a page of its file, as an export's do.
TensorSpec write_source(const fs::path& directory, std::int64_t megabytes) {
  TensorSpec spec;
  spec.name = "t";
  spec.shape = {megabytes * 1'000'000 / (kRow * 4), kRow};
  const std::uint64_t bytes = static_cast<std::uint64_t>(spec.shape[0] * kRow) * 4;
  const std::string entry = fmt::format(R"({{"t":{{"dtype":"F32","shape":[{},{}],)"
                                        R"("data_offsets":[0,{}]}}}})",
                                        spec.shape[0], kRow, bytes);
  std::string head = entry;
  head.resize(4096 - 8, ' ');
  const std::uint64_t size = head.size();
  std::ofstream out(directory / "model.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), 8);
  out << head;
  std::vector<float> row(kRow);
  for (std::int64_t r = 0; r < spec.shape[0]; ++r) {
    for (std::size_t c = 0; c < row.size(); ++c)
      row[c] = static_cast<float>(r + 3) / (1.0f + static_cast<float>(c));
    out.write(reinterpret_cast<const char*>(row.data()), kRow * 4);
  }
  std::ofstream(directory / "config.json") << "{}";
  return spec;
}

TensorSlice slice_of(const TensorSpec& spec, int dim, std::vector<Range> ranges) {
  TensorSlice slice{&spec, spec.name, dim, std::move(ranges), spec.shape};
  auto& cut = slice.shape[static_cast<std::size_t>(dim)];
  cut = 0;
  for (const Range& range : slice.ranges) cut += range.end - range.begin;
  return slice;
}

void forget(const fs::path& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  fdatasync(fd);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

// The slice by one thread: into a buffer, converted there, and out.
void copy_plainly(const Checkpoint& checkpoint, const Case& c, OutputFile& out) {
  const StoredTensor& source = checkpoint.at(c.slice.spec->name);
  const TensorCopy copy = plan_copy(c.slice, source);
  const SourceFile file(checkpoint.shards().front());
  std::vector<std::byte> bytes(1u << 20), converted(1u << 20);
  std::vector<float> values(bytes.size() / sizeof(float));
  SliceCursor at(copy);
  for (std::uint64_t left = copy.bytes; left > 0;) {
    std::size_t filled = 0;
    while (filled < bytes.size() && at.run() > 0) {  // one system call per range
      const auto n =
          static_cast<std::size_t>(std::min<std::uint64_t>(at.run(), bytes.size() - filled));
      file.read(at.offset(), std::span(bytes).subspan(filled, n));
      at.advance(n);
      filled += n;
    }
    left -= filled;
    if (c.dtype == source.dtype) {
      out.write(std::span<const std::byte>(bytes).first(filled));
      continue;
    }
    const auto part = std::span(values).first(filled / sizeof(float));
    to_f32(std::span(bytes).first(filled), source.dtype, part);
    const auto ready = std::span(converted).first(part.size() * size_of(c.dtype));
    from_f32(part, c.dtype, ready);
    out.write(std::span<const std::byte>(ready));
  }
}

void run(const fs::path& directory, std::int64_t megabytes) {
  const TensorSpec spec = write_source(directory, megabytes);
  const std::int64_t rows = spec.shape[0];
  const auto columns = [&](std::int64_t every, std::int64_t kept) {
    std::vector<Range> ranges;
    for (std::int64_t begin = 0; begin < kRow; begin += every)
      ranges.push_back({begin, begin + kept});
    return slice_of(spec, 1, std::move(ranges));
  };
  const TensorSlice prefix = slice_of(spec, 0, {{0, rows / 2}});
  const Case cases[] = {
      {"in the kernel: rows, cached, in step", prefix},
      {"from mapped pages: rows, cached, not in step", prefix, Dtype::kF32, false, 8},
      {"from mapped pages: columns of 32 KiB, cached", columns(kRow, kRow / 2), Dtype::kF32, false,
       8},
      {"from the ring: rows, not cached, not in step", prefix, Dtype::kF32, true, 8},
      {"through buffers: columns of 32 KiB, converted to bf16", columns(kRow, kRow / 2),
       Dtype::kBF16},
      {"through buffers with the gaps: columns of 512 B of 1 KiB", columns(256, 128)},
  };
  fmt::print("{:<58} {:>17} {:>17}\n{:<58} {:>8} {:>8} {:>8} {:>8}\n", "seconds per GB of output",
             "the way", "plain", "", "clock", "cpu", "clock", "cpu");
  for (const Case& c : cases) {
    Seconds own, plain;
    double gigabytes = 0;
    for (int round = 0; round < 2 * kRounds; ++round) {
      const Checkpoint checkpoint = Checkpoint::open(directory);
      if (c.cold) forget(directory / "model.safetensors");
      OutputFile out(directory / "out");
      out.write(std::string(c.lead, ' '));
      if (round % 2 == 0) {
        Extractor extractor(checkpoint);
        time(
            [&] {
              extractor.read_ahead({&c.slice});
              extractor.append(c.slice, c.dtype, out);
            },
            own);
      } else {
        time([&] { copy_plainly(checkpoint, c, out); }, plain);
      }
      gigabytes = 1e-9 * static_cast<double>(out.position());
      out.close(Flush::kToKernel);
    }
    fmt::print("{:<58} {:>8.2f} {:>8.2f} {:>8.2f} {:>8.2f}\n", c.way, own.clock / gigabytes,
               own.processors / gigabytes, plain.clock / gigabytes, plain.processors / gigabytes);
  }
}

}  // namespace
}  // namespace mnm

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  const fs::path parent = argc > 1 ? argv[1] : fs::temp_directory_path().string();
  const fs::path directory = parent / fmt::format("mnm-extract-ways-{}", getpid());
  fs::create_directory(directory);
  int status = 0;
  try {
    mnm::run(directory, argc > 2 ? std::atoll(argv[2]) : 256);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    status = 1;
  }
  fs::remove_all(directory);
  return status;
}
