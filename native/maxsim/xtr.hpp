// XTR's retrieval from one document, for those who choose the documents.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "prepare.hpp"
#include "retrieval.hpp"
#include "scorer.hpp"

namespace serotine::maxsim {

// Adds the tokens of a document to `retrieval`, under the document number `number`. `positions` is scratch of one element
// more than the query has lanes. Returns false when a product was not finite.
bool retrieve(Scorer& scorer, const Kernels& kernels, const PreparedQuery& query, std::size_t document, std::size_t tokens,
              std::uint64_t number, TokenRetrieval& retrieval, std::uint32_t* positions);

}  // namespace serotine::maxsim
