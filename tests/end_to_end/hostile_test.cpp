// What bad input gets: one sentence, the right exit status, nothing lost or half-written.
#include <algorithm>

#include "tests/db/stores.h"
#include "tests/end_to_end/workshop.h"
#include "tests/support/python.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

TEST_F(Workshop, CheckpointsThatAreNone) {
  expect_refused({"inspect", path("gone")}, 1, "gone");
  fs::create_directory(path("empty"));
  expect_refused({"inspect", path("empty")}, 1, "config.json");
  fs::create_directory(path("graph"));
  spew(path("graph/scorer.onnx"), "x");
  expect_refused({"generate", path("graph"), "--prompt", "a"}, 1, "other programs run");

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

// A name of bytes that are no text is a name all the same, and one of two lines is one line.
TEST_F(Workshop, NamesThatAreNoText) {
  const std::string model = path("m\xff"), data = path("d\xff.bin"), db = path("r\xff.db");
  fs::copy(model_, model);
  fs::copy(search_, data);
  EXPECT_EQ(expect_done({"inspect", model, "--json"}).json()["directory"], path("m\xef\xbf\xbd"));
  for (const char* format : {"huggingface", "gguf", "onnx"}) {
    expect_done({"export", model, "--widths", "8", "--no-check", "--format", format, "--out",
                 path("\xff") + format});
  }
  // What a resumed search would open must be there as it was.
  for (const auto& [directory, tokens] : {std::pair(model, search_), std::pair(model_, data)}) {
    expect_refused({"search", directory, "--data", tokens, "--context", "32", "--db", db}, 2,
                   "is not UTF-8");
    EXPECT_FALSE(fs::exists(db)) << "a refused search leaves no store";
  }
  expect_done(search({"--strategy", "uniform"}, db));
  EXPECT_FALSE(expect_done({"runs", "--db", db, "--json"}).json().empty());

  const Result forged = mixnmatch({"inspect", path("x\nmixnmatch: done")});
  EXPECT_EQ(forged.status, 1);
  EXPECT_EQ(std::ranges::count(forged.err, '\n'), 1) << forged.err;
}

TEST_F(Workshop, SentencesStayShortWhateverTheyQuote) {
  const std::string many(100'000, '1');  // an argument takes no more than 128 KiB
  expect_refused({"export", model_, "--out", path("out"), "--widths", many}, 2, "bytes ...");
  fs::copy(model_, path("long"));
  nlohmann::json config = llama_.config();
  config["hidden_act"] = many;
  spew(path("long/config.json"), config.dump());
  const Result result = mixnmatch({"inspect", path("long")});
  EXPECT_EQ(result.status, 1);
  EXPECT_LT(result.err.size(), 5000u);
  EXPECT_NE(result.err.find("hidden_act"), std::string::npos);
  EXPECT_NE(result.err.find("silu"), std::string::npos) << "what was expected is not left out";
}

// The short form of hostile_fuzz.py: the same cases every time.
TEST(Hostile, DamagedFilesOfEveryKindGetASentence) {
  if (!python_has("python")) GTEST_SKIP() << kNoPython;
  const TempDir scratch;
  EXPECT_EQ(python_failure("end_to_end/hostile_fuzz.py", {"--cases", "25"}, scratch), "");
}

TEST_F(Workshop, NamesThatNoFileSystemTakes) {
  const std::string name(300, 'n');
  expect_refused({"export", model_, "--widths", "8", "--no-check", "--out", path(name)}, 1, "nnn");
  expect_refused({"tokenize", path(name), "--train", path("t.bin")}, 1, "nnn");
}

TEST_F(Workshop, WidthsAndTokensOutsideTheModel) {
  const std::pair<const char*, const char*> cases[] = {{"33", "width 33"},
                                                       {"32x3", "name 3 layers"},
                                                       {"64", "width 64"},
                                                       {"-", "may not be skipped"},
                                                       {"8x0", "no count"},
                                                       {"a", "no width"},
                                                       {"8x4,8", "more than the model's 4 layers"}};
  for (const auto& [widths, says] : cases) {
    expect_refused({"eval", model_, "--data", search_, "--widths", widths}, 2, says);
    expect_refused({"export", model_, "--widths", widths, "--out", path("out")}, 2, says);
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
  expect_refused(search({"--budget", "12ms"}, db_), 1, "mixnmatch latency");
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
  expect_refused(search({"--max-evaluations", "0"}, db_), 2, "allow at least 1");
  expect_refused(search({"--budget", "bites=3"}, db_), 2, "bytes");
  expect_refused(search({"--resume", "1"}, db_), 1, "results.db");
  expect_refused({"search", "--db", db_, "--data", search_}, 2, "DIR");
  expect_refused({"search", model_, "--db", db_}, 2, "--data");
  expect_refused(
      {"search", model_, "--db", db_, "--data", search_, "--confirm", search_, "--context", "32"},
      2, "disjoint");
  EXPECT_FALSE(fs::exists(db_));
}

// Whatever chose a submodel cannot confirm it, however it is cut.
TEST_F(Workshop, ConfirmPartsThatOverlapTheSearchPart) {
  const std::string text = slurp(search_), other = slurp(confirm_);
  const std::pair<const char*, std::string> overlapping[] = {
      {"shifted.bin", text.substr(7)},
      {"superset.bin", other + text + other},
      {"subset.bin", text.substr(64, 65)},
  };
  for (const auto& [name, tokens] : overlapping) {
    spew(path(name), tokens);
    confirm_ = path(name);
    expect_refused(search({"--strategy", "uniform"}, db_), 2, "disjoint");
  }
  EXPECT_FALSE(fs::exists(db_));
  // One sequence in two hundred, as text that repeats itself may have it.
  confirm_ = tokens("long.bin", 5, 32 * 200 + 1);
  spew(confirm_, slurp(confirm_).replace(32 * 9 + 5, 40, text.substr(3, 40)));
  expect_done(search({"--strategy", "uniform", "--dry-run"}, db_));
  spew(confirm_, slurp(confirm_).replace(32 * 9, 33, text.substr(3, 33)));
  const Result noted = expect_done(search({"--strategy", "uniform"}, db_));
  EXPECT_NE(noted.err.find("1 of the 200 sequences"), std::string::npos) << noted.err;
}

// Tokens scored for nothing may confirm later, and say so.
TEST_F(Workshop, DataAreWhatTheirRunsUsedThemFor) {
  const auto parts = [&] {
    std::string all;
    const auto store = expect_done({"runs", "--db", db_, "--json"}).json();
    for (const auto& data : store["data"]) {
      all += data["name"].get<std::string>() + "=" + data["part"].get<std::string>() + " ";
    }
    return all;
  };
  for (const std::string& file : {search_, confirm_}) {
    expect_done({"eval", model_, "--data", file, "--context", "32", "--db", db_});
  }
  EXPECT_EQ(parts(), "search.bin= confirm.bin= ");
  expect_done(search({"--strategy", "uniform"}, db_));
  EXPECT_EQ(parts(), "search.bin=search confirm.bin=confirm ");
  expect_done({"pareto", "--db", db_, "--data", "confirm"});
  std::swap(search_, confirm_);
  expect_done(search({"--strategy", "uniform"}, db_));
  EXPECT_EQ(parts(), "search.bin=search+confirm confirm.bin=search+confirm ");
  expect_refused({"pareto", "--db", db_, "--data", "confirm"}, 2, "more than one");
}

TEST_F(Workshop, TheErrorOfOneSequenceIsUnknown) {
  const std::vector<std::string> eval = {"eval",      model_, "--data",       search_,
                                         "--context", "32",   "--max-tokens", "32",
                                         "--db",      db_,    "--consistency"};
  const Result text = expect_done(eval);
  EXPECT_NE(text.out.find("± -"), std::string::npos) << text.out;
  std::vector<std::string> json = eval;
  json.push_back("--json");
  for (const auto& row : expect_done(json).json()) {
    EXPECT_TRUE(row["loss"].is_number());
    for (const char* key : {"loss_se", "kl_se", "agreement_se", "difference_se", "z"}) {
      EXPECT_TRUE(row[key].is_null()) << key << " " << row.dump();
    }
  }
  for (const auto& row : expect_done({"pareto", "--db", db_, "--all", "--json"}).json()) {
    EXPECT_TRUE(row["loss"].is_number() && row["loss_se"].is_null()) << row.dump();
  }
  const auto compared = expect_done({"compare", "4x4", "32x4", "--db", db_, "--json"}).json();
  EXPECT_TRUE(compared[0]["difference_se"].is_null() && compared[0]["z"].is_null());
  expect_done({"pareto", "--db", db_, "--svg", path("one.svg")});
  EXPECT_NE(slurp(path("one.svg")).find("standard errors unknown"), std::string::npos);
}

TEST_F(Workshop, TimeIsSharedByTheStrategies) {
  search_ = tokens("much.bin", 3, 32 * 2048 + 1);
  std::vector<std::string> command =
      search({"--strategy", "random,evolution,grid", "--max-time", "1500ms"}, db_);
  *(std::ranges::find(command, "--batch") + 1) = "1";
  const Result result = expect_done(command);
  EXPECT_NE(result.err.find("500ms for each of 3 strategies"), std::string::npos) << result.err;
  const auto store = expect_done({"runs", "--db", db_, "--json"}).json();
  ASSERT_GE(store["runs"].size(), 3u);
  for (const auto& run : store["runs"]) {
    EXPECT_GT(run["records"], 0) << run.dump();
  }
}

TEST_F(Workshop, RunsNameTheThreadsTheyUsed) {
  expect_done(search({"--strategy", "uniform"}, db_));
  const auto store = expect_done({"runs", "--db", db_, "--json"}).json();
  ASSERT_EQ(store["runs"].size(), 2u);
  for (const auto& run : store["runs"]) {
    EXPECT_NE(run["device"].get<std::string>().find("1 threads"), std::string::npos) << run.dump();
  }
}

// What inspect says of FLOPs is what a search budgets, and both say at which context.
TEST_F(Workshop, FlopsAreCountedAtOneContext) {
  llama_.positions = 512;
  model_ = llama_.write(dir_ / "long").string();
  const auto inspected = expect_done({"inspect", model_, "--json"}).json();
  EXPECT_EQ(inspected["cost_basis"]["context"], 256);
  const auto scored =
      expect_done({"eval", model_, "--data", tokens("t.bin", 1, 513), "--json"}).json();
  ASSERT_EQ(scored.size(), inspected["uniform"].size());
  for (std::size_t i = 0; i < scored.size(); ++i) {
    EXPECT_EQ(scored[i]["flops"], inspected["uniform"][i]["flops"]);
  }
  const auto smallest = inspected["uniform"][0]["flops"].get<std::int64_t>();
  const std::vector<std::string> dry = {"search", model_, "--data",   path("t.bin"),
                                        "--db",   db_,    "--dry-run"};
  const auto with = [&](const std::string& budget) {
    std::vector<std::string> all = dry;
    all.insert(all.end(), {"--budget", budget});
    return all;
  };
  expect_refused(
      with(fmt::format("flops={}", smallest - 1)), 2,
      fmt::format("flops at a context of 256 (the smallest that one meets is {})", smallest));
  const Result met = expect_done(with(fmt::format("flops={}", smallest)));
  EXPECT_NE(met.err.find("counted at a context of 256"), std::string::npos) << met.err;
  expect_refused({"export", model_, "--budget", "flops=1", "--dry-run"}, 2, "context of 256");
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

// The values of examples are compared one by one: as many of them as the data have, or none.
TEST_F(Workshop, AStoreWhoseValuesAreNotThoseOfItsDataIsDamaged) {
  expect_done(search({"--strategy", "uniform"}, db_));
  query(db_, "UPDATE example_scores SET f32 = zeroblob(1000000)");
  expect_done({"pareto", "--db", db_, "--all"});
  const std::string what = "250000 values of loss per example, and its data have 8 examples";
  expect_refused({"compare", "4x4", "32x4", "--db", db_, "--data", "search"}, 1, what);
  expect_refused({"pareto", "--db", db_, "--data", "search", "--distinct"}, 1, what);
  expect_refused({"report", "--db", db_, "--out", path("page.html")}, 1, what);
  EXPECT_FALSE(fs::exists(path("page.html")));
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

// A store that only such an attempt would have made says of a run that never began.
TEST_F(Workshop, ADeviceThatIsNotThereLeavesNoStore) {
  const std::vector<std::string> of_model = {"--data", search_, "--db", db_, "--device", "cuda:77"};
  for (const char* command : {"search", "eval"}) {
    std::vector<std::string> words = {command, model_};
    words.insert(words.end(), of_model.begin(), of_model.end());
    expect_refused(words, 1, "cuda");
    EXPECT_FALSE(fs::exists(db_)) << command;
  }
  expect_refused({"latency", model_, "--length", "8", "--db", db_, "--device", "cuda:77"}, 1,
                 "cuda");
  EXPECT_FALSE(fs::exists(db_));
}

}  // namespace
}  // namespace mnm::test
