// The centroid stage's loops, compiled for AVX512.
#include "rows.hpp"

namespace serotine::search {

const CentroidKernels avx512_centroids = {scan, winners, reaching, flagged, quantize};

}  // namespace serotine::search
