// A store, or one with a journal beside it: 'J' (rollback) or 'W' (write-ahead), the length of the
// store in four bytes, little-endian, the store, the journal.
#include <algorithm>

#include "db/store.h"
#include "tests/fuzz/fuzz.h"

namespace {

void read_all(const mnm::Store& store) {
  store.models();
  store.datasets();
  store.data_uses();
  for (const mnm::RunRow& run : store.runs()) {
    for (const mnm::Record& record : store.records_of(run.id)) {
      store.per_example(record.id, mnm::Metric::kLoss);
    }
  }
  mnm::FrontQuery query;
  store.front(query);
  query.all = true;
  store.front(query);
  store.artifacts();
  store.verifications();
  store.latencies(1);
}

void write_some(mnm::Store& store) {
  mnm::RunRow run;
  run.model = store.model({"another", "model", "llama", "{}", "8"});
  run.data = store.data({"another", "data", 8, 1});
  run.command = "search";
  const std::int64_t id = store.begin_run(run);
  mnm::Score score;
  score.widths = {8, 16};
  score.samples = 1;
  score.metrics[mnm::Metric::kLoss] = mnm::Measured{1.5, 0.25};
  score.per_example[mnm::Metric::kLoss] = {1.5F};
  store.add(id, {&score, 1});
  store.finish_run(id, "done");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mnm::fuzz::Scratch scratch;
  const auto path = scratch / "results.db";
  std::string_view store = mnm::fuzz::text_of(data, size), journal;
  const char* suffix = "-wal";
  if (size > 5 && (data[0] == 'J' || data[0] == 'W')) {
    if (data[0] == 'J') suffix = "-journal";
    std::size_t length = 0;
    for (std::size_t i = 4; i > 0; --i) length = length << 8 | data[i];
    store.remove_prefix(5);
    length = std::min(length, store.size());
    journal = store.substr(length);
    store = store.substr(0, length);
  }
  for (const mnm::Store::Mode mode : {mnm::Store::Mode::kRead, mnm::Store::Mode::kWrite}) {
    for (const char* end : {"-wal", "-shm", "-journal"}) {
      std::filesystem::remove(path.string() + end);
    }
    scratch.write("results.db", store);
    if (!journal.empty()) scratch.write(std::string("results.db") + suffix, journal);
    mnm::fuzz::expect_answer([&] {
      mnm::Store opened = mnm::Store::open(path, mode, std::chrono::milliseconds(10));
      read_all(opened);
      if (mode == mnm::Store::Mode::kWrite) write_some(opened);
    });
  }
  return 0;
}
