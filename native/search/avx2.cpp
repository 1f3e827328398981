// The centroid stage's loops, compiled for AVX2.
#include "rows.hpp"

namespace serotine::search {

const CentroidKernels avx2_centroids = {scan, winners, reaching, flagged, quantize};

}  // namespace serotine::search
