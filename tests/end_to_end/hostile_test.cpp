// What bad input gets: one sentence, the right exit status, nothing lost or half-written.
#include <sys/stat.h>

#include <cmath>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

TEST_F(Workshop, CheckpointsThatAreNone) {
  expect_refused({"inspect", path("gone")}, 1, "gone");
  fs::create_directory(path("empty"));
  expect_refused({"inspect", path("empty")}, 1, "config.json");

  fs::copy(model_, path("pickled"));
  fs::remove(path("pickled/model.safetensors"));
  spew(path("pickled/pytorch_model.bin"), "\x80\x02junk");
  expect_refused({"inspect", path("pickled")}, 1, "safetensors");

  fs::copy(model_, path("lying"));
  nlohmann::json config = llama_.config();
  config["intermediate_size"] = 64;
  config["matformer_granularities"] = {4, 64};
  spew(path("lying/config.json"), config.dump());
  expect_refused({"inspect", path("lying")}, 1, "mlp");

  const std::string whole = slurp(path("model/model.safetensors"));
  fs::copy(model_, path("short"));
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{7}, std::size_t{100}, whole.size() - 1}) {
    spew(path("short/model.safetensors"), whole.substr(0, length));
    expect_refused({"inspect", path("short")}, 1, "model.safetensors");
    expect_refused({"export", path("short"), "--widths", "8", "--out", path("out")}, 1,
                   "model.safetensors");
  }
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(Workshop, NothingIsWrittenOverWhatIsRead) {
  expect_done(search({"--strategy", "uniform"}, db_));
  fs::create_directory_symlink(model_, path("link"));
  const std::string before = slurp(path("model/model.safetensors"));
  for (const std::string& out : {model_, model_ + "/", path("link"), path("model/../model")}) {
    expect_refused({"export", model_, "--widths", "8", "--no-check", "--force", "--out", out}, 2,
                   "replace");
  }
  EXPECT_EQ(slurp(path("model/model.safetensors")), before);

  fs::create_directory(path("stores"));
  fs::copy(db_, path("stores/results.db"));
  const std::string store = slurp(path("stores/results.db"));
  expect_refused({"export", model_, "--widths", "8", "--no-check", "--force", "--out",
                  path("stores"), "--db", path("stores/results.db")},
                 2, "results.db");
  expect_refused(
      {"pareto", "--db", path("stores/results.db"), "--force", "--svg", path("stores/results.db")},
      2, "replace");
  EXPECT_EQ(slurp(path("stores/results.db")), store);
}

TEST_F(Workshop, AClosedOrFullStandardErrorChangesNothing) {
  const std::string program = mixnmatch_argv({}).front();
  for (const char* where : {"2>&-", "2>/dev/full", "<&- 2>&-"}) {
    const std::string bad = program + " inspect " + path("gone") + " " + where;
    EXPECT_EQ(Running({"/bin/sh", "-c", bad}).wait().status, 1) << where;
    const std::string good = program + " export " + model_ +
                             " --no-check --force --widths 8 --out " + path("quiet") + " " + where;
    EXPECT_EQ(Running({"/bin/sh", "-c", good}).wait().status, 0) << where;
  }
}

TEST_F(Workshop, NamesThatNoFileSystemTakes) {
  const std::string name(300, 'n');
  expect_refused({"export", model_, "--widths", "8", "--no-check", "--out", path(name)}, 1, "nnn");
  expect_refused({"tokenize", path(name), "--train", path("t.bin")}, 1, "nnn");
}

TEST_F(Workshop, WidthsAndTokensOutsideTheModel) {
  for (const char* widths : {"33", "32x3", "64", "-", "8x0", "a", "8x4,8"}) {
    expect_refused({"eval", model_, "--data", search_, "--widths", widths}, 2, "");
    expect_refused({"export", model_, "--widths", widths, "--out", path("out")}, 2, "");
  }
  TinyLlama small;
  small.vocab = 50;
  const std::string model = small.write(dir_ / "small").string();
  expect_refused({"eval", model, "--data", search_}, 1, "50");
  expect_refused({"eval", model_, "--data", search_, "--context", "33"}, 2, "32");
  expect_refused({"eval", model_, "--data", tokens("few.bin", 1, 8), "--context", "32"}, 2,
                 "few.bin");
  expect_refused({"eval", model_, "--data", path("gone.bin")}, 1, "gone.bin");
}

TEST_F(Workshop, BudgetsThatNothingMeetsNameTheSmallestThatSomethingDoes) {
  const auto narrowest = expect_done({"inspect", model_, "--json"}).json()["uniform"][0];
  expect_refused(search({"--budget", "10"}, db_), 2,
                 std::to_string(narrowest["params"].get<std::int64_t>()));
  EXPECT_FALSE(fs::exists(db_)) << "a refused search leaves no store";
  expect_done(search({"--strategy", "uniform"}, db_));
  expect_refused({"pareto", "--db", db_, "--budget", "10"}, 2,
                 std::to_string(narrowest["params"].get<std::int64_t>()));
  expect_refused({"export", model_, "--best", "--budget", "10", "--db", db_, "--out", path("out")},
                 2, std::to_string(narrowest["params"].get<std::int64_t>()));
}

TEST_F(Workshop, WrongUsageOfSearch) {
  expect_refused(search({"--strategy", "evolutoin"}, db_), 2, "evolution");
  expect_refused(search({"--strategy", "grid,grid"}, db_), 2, "twice");
  expect_refused(search({"--max-evaluations", "0"}, db_), 2, "");
  expect_refused(search({"--budget", "bites=3"}, db_), 2, "bytes");
  expect_refused(search({"--resume", "1"}, db_), 1, "");
  expect_refused({"search", "--db", db_, "--data", search_}, 2, "DIR");
  expect_refused({"search", model_, "--db", db_}, 2, "--data");
  expect_refused(
      {"search", model_, "--db", db_, "--data", search_, "--confirm", search_, "--context", "32"},
      2, "disjoint");
  EXPECT_FALSE(fs::exists(db_));
}

TEST_F(Workshop, ExportNeedsExactlyOneSubmodel) {
  expect_refused({"export", model_, "--out", path("o")}, 2, "exactly one");
  expect_refused({"export", model_, "--out", path("o"), "--widths", "8", "--best"}, 2,
                 "exactly one");
  expect_refused({"export", model_, "--out", path("o"), "--record", "1"}, 2, "--db");
  expect_refused({"export", model_, "--out", path("o"), "--record", "1", "--db", db_}, 1,
                 "results.db");
  EXPECT_FALSE(fs::exists(db_)) << "reading makes no store";
}

TEST_F(Workshop, StoresThatAreNone) {
  expect_refused({"pareto", "--db", path("gone.db")}, 1, "gone.db");
  EXPECT_FALSE(fs::exists(path("gone.db")));
  spew(path("text.db"),
       "this is no database, though it is long enough to look at" + std::string(4096, 'x'));
  for (const char* command : {"pareto", "runs"})
    expect_refused({command, "--db", path("text.db")}, 1, "text.db");
  expect_refused(search({}, path("text.db")), 1, "text.db");
  expect_refused(search({}, path("no/such/place.db")), 1, "place.db");
  fs::create_directory(path("dir.db"));
  expect_refused({"runs", "--db", path("dir.db")}, 1, "dir.db");
}

TEST_F(Workshop, OutputsThatCannotBeWritten) {
  expect_done(search({"--strategy", "uniform"}, db_));
  expect_refused({"pareto", "--db", db_, "--svg", path("no/front.svg")}, 1, "no");
  spew(path("taken"), "a file");
  expect_refused({"export", model_, "--widths", "8", "--out", path("taken")}, 1, "taken");
  expect_refused({"export", model_, "--widths", "8", "--out", path("taken"), "--force"}, 1,
                 "taken");
  EXPECT_EQ(slurp(path("taken")), "a file");
  expect_refused({"export", model_, "--widths", "8", "--out", path("no/such/out")}, 1, "no");

  const Running full(
      {"/bin/sh", "-c", mixnmatch_argv({})[0] + " runs --db " + db_ + " > /dev/full"});
  Result result = const_cast<Running&>(full).wait();
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("standard output"), std::string::npos) << result.err;
}

// NaN in the weights: scored as such, never on the front, and not the end of the search.
TEST_F(Workshop, WeightsThatAreNoNumbers) {
  std::vector<TestTensor> tensors = llama_.tensors();
  for (TestTensor& t : tensors) {
    // The last column of a down projection takes part in the widest layers alone.
    if (t.name == "model.layers.0.mlp.down_proj.weight") t.values[31] = std::nanf("");
  }
  write_checkpoint(path("nan"), llama_.config(), tensors, 1);
  const auto scores =
      expect_done({"eval", path("nan"), "--data", search_, "--context", "32", "--widths", "16x4",
                   "--widths", "32x1,16x3", "--json", "--threads", "1"})
          .json();
  EXPECT_EQ(scores[0]["status"], "ok");
  EXPECT_EQ(scores[1]["status"], "nan");
  EXPECT_TRUE(scores[1]["loss"].is_null());

  model_ = path("nan");
  expect_done(search({"--strategy", "grid", "--max-evaluations", "256"}, db_));
  std::size_t failed = 0;
  for (const auto& record :
       expect_done({"pareto", "--db", db_, "--data", "search", "--all", "--json"}).json()) {
    const bool widest_first = record["widths"].get<std::string>().starts_with("32");
    EXPECT_EQ(record["status"], widest_first ? "nan" : "ok");
    failed += widest_first ? 1 : 0;
  }
  EXPECT_EQ(failed, 64u);
  for (const auto& record : expect_done({"pareto", "--db", db_, "--json"}).json()) {
    EXPECT_FALSE(record["loss"].is_null());
  }
  expect_refused({"export", model_, "--widths", "32", "--out", path("out")}, 1, "no numbers");
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace mnm::test
