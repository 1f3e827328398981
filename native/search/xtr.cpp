// XTR's search (Lee et al. 2023): every query token retrieves its most similar tokens by their centroids and residuals,
// and documents are scored from these similarities alone.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <map>
#include <memory>

#include "../common/thread_pool.hpp"
#include "../maxsim/retrieval.hpp"
#include "../maxsim/xtr.hpp"
#include "residuals.hpp"
#include "stages.hpp"

namespace serotine::search {
namespace {

// Tokens whose residuals are read for each token that is retrieved: those of the nearest centroids.
constexpr std::uint64_t kReadPerRetrieved = 4;
constexpr std::size_t kLevels = 256;
// Documents, centroids and tokens that one item of parallel work reads.
constexpr std::size_t kDocumentsPerItem = 1024;
constexpr std::size_t kCentroidsPerItem = 1024;
constexpr std::size_t kTokensPerPiece = 8192;
// Tokens whose positions fit what the codec reads.
constexpr std::size_t kMostPositions = 65536;

// The centroids that query tokens have chosen, and their similarities.
struct Chosen {
  std::vector<std::uint32_t> centroids;
  std::vector<std::size_t> starts;  // pairs [starts[i], starts[i + 1]) are of centroids[i]
  std::vector<std::uint32_t> query_tokens;
  std::vector<float> similarities;
  Aligned<std::uint8_t> flags;       // [centroids of the codebook]
  std::vector<std::uint32_t> slots;  // [centroids of the codebook], where a flag is set
};

// Tokens of one query token that wait for their residuals.
struct Waiting {
  std::vector<std::uint16_t> positions;
  std::vector<float> similarities;
  std::vector<float> scales;
  std::vector<maxsim::RetrievedToken> tokens;
};

struct Worker {
  Worker(std::size_t query_tokens, std::size_t lanes, std::size_t k_token)
      : retrieval(query_tokens, lanes, k_token), waiting(query_tokens), positions(std::max(kTokensPerPiece, lanes) + 1) {}
  maxsim::TokenRetrieval retrieval;
  std::vector<Waiting> waiting;
  std::vector<std::uint32_t> positions;
  std::vector<std::int32_t> products;
  std::size_t tokens = 0;
};

class XtrSearch : Stages {
 public:
  XtrSearch(const Query& query, const std::vector<Segment>& segments, const std::vector<const std::uint64_t*>& masks,
            const Options& options, Report& report)
      : Stages(query, segments, masks, options, report),
        rows_(query.quantized().begin(), query.quantized().end()),
        workers_(num_threads()) {
    bases_.push_back(0);
    for (const Segment& segment : segments) bases_.push_back(bases_.back() + segment.documents);
  }

  std::vector<Hit> run();

 private:
  Worker& worker(std::size_t number, std::size_t lanes);
  std::vector<std::uint64_t> count_tokens(const codec::Codebook& codebook, const std::vector<std::uint32_t>& numbers) const;
  Chosen choose(const codec::Codebook& codebook, const std::vector<std::uint64_t>& counts) const;
  void add_similarities(const codec::Codebook& codebook, Chosen& chosen) const;
  void retrieve_codes(const codec::Codebook& codebook, const std::vector<std::uint32_t>& numbers);
  void read(std::uint32_t number, const Chosen& chosen);
  void flush(const Segment& segment, std::size_t base, Worker& worker) const;
  void retrieve_vectors(std::uint32_t number);

  Aligned<std::int16_t> rows_;  // [tokens][dim], the query's int8 widened
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::uint64_t> bases_;  // [segments + 1], documents before each
};

// Whether posting lists say nearly enough of the allowed documents.
bool reads_postings(const Segment& segment, std::size_t allowed) {
  return segment.postings != nullptr && allowed * 4 >= segment.documents;
}

Worker& XtrSearch::worker(std::size_t number, std::size_t lanes) {
  std::unique_ptr<Worker>& worker = workers_[number];
  if (!worker) worker = std::make_unique<Worker>(query_.tokens(), std::max(lanes, query_.tokens()), options_.k_token);
  return *worker;
}

// Allowed tokens by centroid; of a segment with posting lists, about the documents among them.
std::vector<std::uint64_t> XtrSearch::count_tokens(const codec::Codebook& codebook,
                                                   const std::vector<std::uint32_t>& numbers) const {
  std::vector<std::uint64_t> counts(codebook.count, 0);
  for (const std::uint32_t s : numbers) {
    const Segment& segment = segments_[s];
    const std::uint64_t* mask = masks_[s];
    const std::size_t allowed = count_allowed(segment, mask);
    if (reads_postings(segment, allowed)) {
      for (std::size_t c = 0; c < codebook.count; ++c) {
        const std::uint64_t length = segment.posting_starts[c + 1] - segment.posting_starts[c];
        counts[c] += length > 0 ? std::max<std::uint64_t>(length * allowed / segment.documents, 1) : 0;
      }
      continue;
    }
    const std::size_t items = (segment.documents + kDocumentsPerItem - 1) / kDocumentsPerItem;
    std::vector<std::vector<std::uint32_t>> by_worker(num_threads());
    parallel_for(items, by_worker.size(), [&](std::size_t item, std::size_t number) {
      std::vector<std::uint32_t>& here = by_worker[number];
      if (here.empty()) here.assign(codebook.count, 0);
      const std::size_t last = std::min(segment.documents, (item + 1) * kDocumentsPerItem);
      for (std::size_t d = item * kDocumentsPerItem; d < last; ++d) {
        if (!is_allowed(mask, d)) continue;
        for (auto t = static_cast<std::size_t>(segment.offsets[d]); t < static_cast<std::size_t>(segment.offsets[d + 1]); ++t) {
          ++here[segment.codes.id(t)];
        }
      }
    });
    for (const std::vector<std::uint32_t>& here : by_worker) {
      for (std::size_t c = 0; c < here.size(); ++c) counts[c] += here[c];
    }
  }
  return counts;
}

// For every query token the nearest centroids, down to the level of the table at which they have enough tokens.
Chosen XtrSearch::choose(const codec::Codebook& codebook, const std::vector<std::uint64_t>& counts) const {
  const CentroidTable table(query_, codebook);
  const std::size_t tokens = query_.tokens();
  const std::size_t width = table.width();
  const std::uint8_t* rows = table.scan_of(Segment{}).table;
  using Histogram = std::array<std::uint64_t, kLevels>;
  const std::size_t items = (codebook.count + kCentroidsPerItem - 1) / kCentroidsPerItem;
  std::vector<std::vector<Histogram>> by_worker(num_threads());
  parallel_for(items, by_worker.size(), [&](std::size_t item, std::size_t number) {
    std::vector<Histogram>& here = by_worker[number];
    if (here.empty()) here.assign(tokens, Histogram{});
    const std::size_t last = std::min(codebook.count, (item + 1) * kCentroidsPerItem);
    for (std::size_t c = item * kCentroidsPerItem; c < last; ++c) {
      if (counts[c] == 0) continue;
      for (std::size_t t = 0; t < tokens; ++t) here[t][rows[c * width + t]] += counts[c];
    }
  });
  const std::uint64_t enough = static_cast<std::uint64_t>(options_.k_token) * kReadPerRetrieved;
  std::vector<std::uint8_t> levels(tokens, 0);
  for (std::size_t t = 0; t < tokens; ++t) {
    std::uint64_t reached = 0;
    for (std::size_t level = kLevels; level-- > 0;) {
      for (const std::vector<Histogram>& here : by_worker) reached += here.empty() ? 0 : here[t][level];
      if (reached < enough) continue;
      levels[t] = static_cast<std::uint8_t>(level);
      break;
    }
  }
  Chosen chosen;
  chosen.starts = {0};
  chosen.flags.assign(codebook.count, 0);
  chosen.slots.resize(codebook.count);
  for (std::size_t c = 0; c < codebook.count; ++c) {
    const std::uint8_t* row = rows + c * width;
    if (counts[c] == 0) continue;
    const std::size_t before = chosen.query_tokens.size();
    for (std::size_t t = 0; t < tokens; ++t) {
      if (row[t] >= levels[t]) chosen.query_tokens.push_back(static_cast<std::uint32_t>(t));
    }
    if (chosen.query_tokens.size() == before) continue;
    chosen.flags[c] = 1;
    chosen.slots[c] = static_cast<std::uint32_t>(chosen.centroids.size());
    chosen.centroids.push_back(static_cast<std::uint32_t>(c));
    chosen.starts.push_back(chosen.query_tokens.size());
  }
  return chosen;
}

// Bytes order centroids; similarities are computed again, because residuals are finer than a byte.
void XtrSearch::add_similarities(const codec::Codebook& codebook, Chosen& chosen) const {
  constexpr std::size_t kBlock = CentroidTable::kBlock;
  const maxsim::Kernels& kernels = query_.kernels();
  const LaidQuery& laid = query_.laid();
  const std::size_t stride = laid.steps() * kernels.i8.group * kernels.i8.bytes;
  chosen.similarities.resize(chosen.query_tokens.size());
  struct Scratch {
    Aligned<std::uint8_t> staged;
    Aligned<float> values;
    std::vector<float> scales;
  };
  std::vector<Scratch> scratch(num_threads());
  const std::size_t items = (chosen.centroids.size() + kBlock - 1) / kBlock;
  parallel_for(items, scratch.size(), [&](std::size_t item, std::size_t number) {
    Scratch& buffers = scratch[number];
    buffers.staged.resize(kBlock * stride);
    buffers.values.resize(kBlock * laid.lanes());
    buffers.scales.resize(kBlock);
    const std::size_t first = item * kBlock;
    const std::size_t count = std::min(kBlock, chosen.centroids.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t c = chosen.centroids[first + i];
      kernels.i8.stage(codebook.centroids + c * codebook.dim, 1, codebook.dim, buffers.staged.data() + i * stride, stride);
      buffers.scales[i] = codebook.scales[c];
    }
    laid.dots(kernels, buffers.staged.data(), stride, buffers.scales.data(), count, buffers.values.data(), laid.lanes());
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t p = chosen.starts[first + i]; p < chosen.starts[first + i + 1]; ++p) {
        const std::size_t t = chosen.query_tokens[p];
        chosen.similarities[p] = buffers.values[i * laid.lanes() + t] * query_.scales()[t];
      }
    }
  });
}

void XtrSearch::flush(const Segment& segment, std::size_t base, Worker& worker) const {
  for (std::size_t t = 0; t < worker.waiting.size(); ++t) {
    Waiting& waiting = worker.waiting[t];
    const std::size_t count = waiting.positions.size();
    if (count == 0) continue;
    worker.products.resize(std::max(worker.products.size(), count));
    codec::multiply_residuals(segment.codes, query_.dim(), base, waiting.positions.data(), count,
                              rows_.data() + t * query_.dim(), 0, worker.products.data());
    for (std::size_t i = 0; i < count; ++i) {
      maxsim::RetrievedToken& token = waiting.tokens[i];
      token.similarity = waiting.similarities[i] + query_.scales()[t] * waiting.scales[i] * static_cast<float>(worker.products[i]);
      worker.retrieval.add(t, token);
    }
    waiting.positions.clear();
    waiting.similarities.clear();
    waiting.scales.clear();
    waiting.tokens.clear();
  }
}

void XtrSearch::read(std::uint32_t number, const Chosen& chosen) {
  const Segment& segment = segments_[number];
  const std::uint64_t* mask = masks_[number];
  const codec::Codebook& codebook = *segment.codebook;
  // Posting lists spare reading the ids of documents without a chosen centroid.
  std::vector<std::uint64_t> listed;
  if (reads_postings(segment, count_allowed(segment, mask))) {
    listed.assign((segment.documents + 63) / 64, 0);
    for (const std::uint32_t c : chosen.centroids) {
      for (std::uint64_t i = segment.posting_starts[c]; i < segment.posting_starts[c + 1]; ++i) {
        listed[segment.postings[i] / 64] |= std::uint64_t{1} << (segment.postings[i] % 64);
      }
    }
  }
  const auto wanted = [&](std::size_t d) { return is_allowed(mask, d) && (listed.empty() || is_allowed(listed.data(), d)); };
  const CentroidKernels& loops = centroid_kernels();
  const std::size_t items = (segment.documents + kDocumentsPerItem - 1) / kDocumentsPerItem;
  const auto* ids = static_cast<const char*>(segment.codes.ids);
  parallel_for(items, workers_.size(), [&](std::size_t item, std::size_t worker_number) {
    Worker& here = worker(worker_number, query_.tokens());
    const std::size_t end = std::min(segment.documents, (item + 1) * kDocumentsPerItem);
    std::size_t base = static_cast<std::size_t>(segment.offsets[item * kDocumentsPerItem]);
    for (std::size_t d = item * kDocumentsPerItem; d < end;) {
      if (!wanted(d)) {
        ++d;
        continue;
      }
      // Documents side by side are read as one run of tokens.
      std::size_t past = d + 1;
      while (past < end && wanted(past)) ++past;
      const auto last = static_cast<std::size_t>(segment.offsets[past]);
      for (auto first = static_cast<std::size_t>(segment.offsets[d]); first < last; first += kTokensPerPiece) {
        const std::size_t count = std::min(kTokensPerPiece, last - first);
        if (first + count - base > kMostPositions) {
          flush(segment, base, here);
          base = first;
        }
        const std::size_t reached = loops.flagged(ids + first * segment.codes.id_bytes(), segment.codes.uint32_ids, count,
                                                  chosen.flags.data(), here.positions.data());
        here.tokens += reached;
        for (std::size_t i = 0; i < reached; ++i) {
          const std::size_t token = first + here.positions[i];
          while (static_cast<std::size_t>(segment.offsets[d + 1]) <= token) ++d;
          const std::size_t c = segment.codes.id(token);
          const std::size_t slot = chosen.slots[c];
          for (std::size_t p = chosen.starts[slot]; p < chosen.starts[slot + 1]; ++p) {
            Waiting& waiting = here.waiting[chosen.query_tokens[p]];
            waiting.positions.push_back(static_cast<std::uint16_t>(token - base));
            waiting.similarities.push_back(chosen.similarities[p]);
            waiting.scales.push_back(codebook.scales[c]);
            waiting.tokens.push_back({0.0f, static_cast<std::uint32_t>(token - static_cast<std::size_t>(segment.offsets[d])),
                                      bases_[number] + d});
          }
        }
      }
      d = past;
    }
    flush(segment, base, here);
  });
}

void XtrSearch::retrieve_codes(const codec::Codebook& codebook, const std::vector<std::uint32_t>& numbers) {
  Chosen chosen;
  {
    const Timer timer(report_.centroids_ms);
    chosen = choose(codebook, count_tokens(codebook, numbers));
    add_similarities(codebook, chosen);
  }
  const Timer timer(report_.residuals_ms);
  for (const std::uint32_t number : numbers) {
    report_.by_centroids += count_allowed(segments_[number], masks_[number]);
    read(number, chosen);
  }
}

void XtrSearch::retrieve_vectors(std::uint32_t number) {
  const Timer timer(report_.vectors_ms);
  const Segment& segment = segments_[number];
  const std::vector<std::uint32_t> allowed = allowed_documents(segment, masks_[number]);
  const std::int64_t begin = 0;
  const auto end = static_cast<std::int64_t>(query_.tokens());
  const maxsim::Tokens query{query_.values(), maxsim::Dtype::f32, query_.tokens(), query_.dim(), nullptr};
  const maxsim::PreparedQueries prepared(query_.kernels(), query, {&begin, &end, 1}, maxsim::Dtype::f16);
  const maxsim::Tokens vectors{segment.vectors, maxsim::Dtype::f16,
                               static_cast<std::size_t>(segment.offsets[segment.documents]), query_.dim(), nullptr};
  const maxsim::Ranges ranges{segment.offsets, segment.offsets + 1, segment.documents};
  const std::size_t lanes = prepared[0].vectors * prepared[0].lanes;
  std::vector<std::unique_ptr<maxsim::Scorer>> scorers(workers_.size());
  constexpr std::size_t kDocuments = 16;
  parallel_for((allowed.size() + kDocuments - 1) / kDocuments, workers_.size(), [&](std::size_t item, std::size_t w) {
    Worker& here = worker(w, lanes);
    if (!scorers[w]) scorers[w] = std::make_unique<maxsim::Scorer>(query_.kernels(), prepared, vectors, ranges);
    const std::size_t last = std::min(allowed.size(), (item + 1) * kDocuments);
    for (std::size_t i = item * kDocuments; i < last; ++i) {
      const std::size_t d = allowed[i];
      const auto tokens = static_cast<std::size_t>(segment.offsets[d + 1] - segment.offsets[d]);
      maxsim::retrieve(*scorers[w], query_.kernels(), prepared[0], d, tokens, bases_[number] + d, here.retrieval,
                       here.positions.data());
      here.tokens += tokens;
    }
  });
  report_.flat = true;
  report_.by_vectors += allowed.size();
}

std::vector<Hit> XtrSearch::run() {
  if (query_.tokens() == 0) return {};
  std::map<const codec::Codebook*, std::vector<std::uint32_t>> coded;
  std::vector<std::uint32_t> flat;
  for (std::uint32_t s = 0; s < segments_.size(); ++s) {
    if (segments_[s].codebook != nullptr) {
      coded[segments_[s].codebook].push_back(s);
    } else {
      flat.push_back(s);
    }
  }
  // First, because its kernel compares whole lanes, which the workers have room for from then on.
  for (const std::uint32_t number : flat) retrieve_vectors(number);
  for (const auto& [codebook, numbers] : coded) retrieve_codes(*codebook, numbers);

  maxsim::TokenRetrieval all(query_.tokens(), query_.tokens(), options_.k_token);
  for (const std::unique_ptr<Worker>& worker : workers_) {
    if (!worker) continue;
    all.merge(worker->retrieval);
    report_.tokens += worker->tokens;
  }
  all.finish();
  const maxsim::RetrievedSums sums = maxsim::sum_retrieved(all.best(), bases_.back(), true);
  std::vector<Candidate> candidates;
  for (std::uint32_t s = 0; s < segments_.size(); ++s) {
    for (std::size_t d = 0; d < segments_[s].documents; ++d) {
      const std::uint64_t document = bases_[s] + d;
      if (sums.counts[document] == 0) continue;
      candidates.push_back({static_cast<float>(sums.missing + sums.sums[document]), s, static_cast<std::uint32_t>(d)});
    }
  }
  report_.by_residuals = candidates.size();
  return best_hits(candidates);
}

}  // namespace

std::vector<Hit> xtr_search(const Query& query, const std::vector<Segment>& segments,
                            const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report) {
  return XtrSearch(query, segments, masks, options, report).run();
}

}  // namespace serotine::search
