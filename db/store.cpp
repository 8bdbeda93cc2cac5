#include "db/store.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "base/error.h"
#include "base/output_place.h"
#include "db/store_file.h"
#include "db/store_impl.h"

namespace mnm {
namespace {

// How many layers "512x4,256" names; 0 if it is malformed or names too many.
std::size_t layers_of(std::string_view text) {
  std::size_t layers = 0;
  while (!text.empty()) {
    const std::string_view run = text.substr(0, text.find(','));
    text.remove_prefix(std::min(run.size() + 1, text.size()));
    std::size_t count = 1;
    if (const std::size_t cross = run.find('x'); cross != std::string_view::npos) {
      count = 0;
      for (const char c : run.substr(cross + 1)) {
        if (c < '0' || c > '9') return 0;
        count = count * 10 + static_cast<std::size_t>(c - '0');
        if (count > kMaxLayers) return 0;
      }
    }
    layers += count;
    if (layers > kMaxLayers) return 0;
  }
  return layers;
}

}  // namespace

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

Dtype dtype_of(const Store::Impl& store, std::string_view text) {
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
    if (text == to_string(dtype)) return dtype;
  }
  fail("{} is damaged: it holds the dtype '{}', expected f32, f16 or bf16", store.path.string(),
       text);
}

Widths widths_of(const Store::Impl& store, std::string_view text) {
  try {
    return parse_widths(text, layers_of(text));
  } catch (const Error&) {
    fail("{} is damaged: it holds the widths '{}', expected such as '512x4,256x8'",
         store.path.string(), text.substr(0, 100));
  }
}

Store::Impl::Impl(std::filesystem::path file_path, Mode file_mode, std::chrono::milliseconds wait)
    : path(std::move(file_path)),
      mode(file_mode),
      patience(wait),
      fronts([this](std::string_view sql) -> sqlite::Statement& { return statement(sql); }) {
  reopen();
}

void Store::Impl::reopen() {
  statements.clear();
  file.emplace(path, mode, patience);
  version = file->version();
}

sqlite::Statement& Store::Impl::statement(std::string_view sql) {
  auto found = statements.find(sql);
  if (found == statements.end()) {
    found = statements.emplace(sql, file->connection().prepare(sql)).first;
  }
  return found->second;
}

Store::Store() = default;
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Store Store::open(const std::filesystem::path& path, Mode mode,
                  std::chrono::milliseconds patience) {
  if (mode == Mode::kWrite) require_no_journal(path);
  Store store;
  store.impl_ = std::make_unique<Impl>(path, mode, patience);
  return store;
}

void Store::require_writable(const std::filesystem::path& path) {
  require_no_journal(path);
  if (!StoreFile::is_to_be_made(path)) open(path, Mode::kWrite);
}

std::int64_t Store::model(const ModelRow& row) {
  return impl_->write([&] {
    impl_
        ->statement(
            "INSERT INTO model (fingerprint, name, family, config, granularities) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO NOTHING")
        .bind(row.fingerprint, row.name, row.family, row.config, row.granularities)
        .run();
    sqlite::Statement& id = impl_->statement("SELECT id FROM model WHERE fingerprint = ?");
    id.bind(row.fingerprint).step();
    const std::int64_t result = id.integer(0);
    id.reset();
    return result;
  });
}

std::int64_t Store::data(const DataRow& row) {
  return impl_->write([&] {
    impl_
        ->statement(
            "INSERT INTO data (fingerprint, name, context, sequences, kind) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO NOTHING")
        .bind(row.fingerprint, row.name, row.context, row.sequences, row.kind)
        .run();
    sqlite::Statement& id = impl_->statement("SELECT id FROM data WHERE fingerprint = ?");
    id.bind(row.fingerprint).step();
    const std::int64_t result = id.integer(0);
    id.reset();
    return result;
  });
}

std::vector<std::pair<std::int64_t, ModelRow>> Store::models() const {
  return impl_->read([&] {
    std::vector<std::pair<std::int64_t, ModelRow>> models;
    sqlite::Statement& row = impl_->statement(
        "SELECT id, fingerprint, name, family, config, granularities FROM model ORDER BY id");
    row.reset();
    while (row.step()) {
      models.emplace_back(row.integer(0), ModelRow{row.string(1), row.string(2), row.string(3),
                                                   row.string(4), row.string(5)});
    }
    row.reset();
    return models;
  });
}

std::vector<std::pair<std::int64_t, DataRow>> Store::datasets() const {
  return impl_->read([&] {
    std::vector<std::pair<std::int64_t, DataRow>> datasets;
    sqlite::Statement& row = impl_->statement(
        fmt::format("SELECT id, fingerprint, name, context, sequences, {} FROM data ORDER BY id",
                    impl_->version < 5 ? "'tokens'" : "kind"));
    row.reset();
    while (row.step()) {
      datasets.emplace_back(row.integer(0), DataRow{row.string(1), row.string(2), row.integer(3),
                                                    row.integer(4), row.string(5)});
    }
    row.reset();
    return datasets;
  });
}

std::vector<DataUse> Store::data_uses() const {
  return impl_->read([&] {
    std::vector<DataUse> uses;
    sqlite::Statement& row =
        impl_->statement("SELECT model, data, part FROM data_use ORDER BY model, data");
    row.reset();
    while (row.step()) uses.push_back({row.integer(0), row.integer(1), row.string(2)});
    row.reset();
    return uses;
  });
}

std::int64_t Store::add_artifact(const Artifact& artifact) {
  return impl_->write([&] {
    impl_
        ->statement(
            "INSERT INTO artifact (model, record, widths, format, path, fingerprint, bytes, "
            "\"check\", command_line, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(artifact.model, artifact.record, to_string(artifact.widths), artifact.format,
              artifact.path, artifact.fingerprint, artifact.bytes, artifact.check,
              artifact.command_line, artifact.created.empty() ? now_utc() : artifact.created)
        .run();
    return impl_->file->connection().last_id();
  });
}

std::vector<Store::Artifact> Store::artifacts() const {
  return impl_->read([&] {
    std::vector<Artifact> artifacts;
    sqlite::Statement& row = impl_->statement(
        "SELECT id, model, record, widths, format, path, fingerprint, \"check\", command_line, "
        "created, bytes FROM artifact ORDER BY id");
    row.reset();
    while (row.step()) {
      Artifact artifact;
      artifact.id = row.integer(0);
      artifact.model = row.integer(1);
      if (!row.null(2)) artifact.record = row.integer(2);
      artifact.widths = widths_of(*impl_, row.text(3));
      artifact.format = row.string(4);
      artifact.path = row.string(5);
      artifact.fingerprint = row.string(6);
      artifact.check = row.string(7);
      artifact.command_line = row.string(8);
      artifact.created = row.string(9);
      artifact.bytes = row.integer(10);
      artifacts.push_back(std::move(artifact));
    }
    row.reset();
    return artifacts;
  });
}

std::vector<Store::Verification> Store::verifications() const {
  return impl_->read([&] {
    std::vector<Verification> verifications;
    if (impl_->version < 3) return verifications;
    sqlite::Statement& row = impl_->statement(
        "SELECT artifact, runtime, version, worst, tolerance, agrees, machine, created "
        "FROM verification ORDER BY id");
    row.reset();
    while (row.step()) {
      Verification& found = verifications.emplace_back();
      found.artifact = row.integer(0);
      found.runtime = row.string(1);
      found.version = row.string(2);
      if (!row.null(3)) found.worst = row.real(3);
      found.tolerance = row.real(4);
      found.agrees = row.integer(5) != 0;
      found.machine = row.string(6);
      found.created = row.string(7);
    }
    row.reset();
    return verifications;
  });
}

}  // namespace mnm
