// Convolutions, gates and their gradients on AMX, for XLA's foreign function interface.
//
// Arrays are float32, [image, row, column, channel]. Products are of bfloat16, sums are float32. A
// tile register holds 16 x 16 float32 sums, or 16 rows of 32 bfloat16 factors. Each loop below keeps
// a square of 2 x 2 tiles of sums in registers 0 to 3, or a part of one at the end of the channels,
// and loads the factors into 4 to 7. Where channels end within a row of factors, what follows them
// is multiplied by zeros. What is done number by number is done where a product is made or read,
// while it is in the cache.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int kTile = 16;          // Rows of a tile, and sums in a row of it.
constexpr int kDepth = 2 * kTile;  // Factors in a row of a tile.
constexpr int kTaps = 9;           // Of a 3x3 kernel.

// Memory for what is rearranged, kept by each thread from call to call.
template <typename Number>
class Workspace {
 public:
  ~Workspace() { std::free(memory_); }
  Number* Get(size_t numbers) {
    const size_t bytes = (numbers * sizeof(Number) + 4095) / 4096 * 4096;
    if (bytes > size_) {
      std::free(memory_);
      memory_ = std::aligned_alloc(4096, size_ = bytes);
      if (memory_ == nullptr) size_ = 0;
    }
    return static_cast<Number*>(memory_);
  }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
};
thread_local Workspace<uint16_t> first_factor, second_factor, packed_kernels, rounded_pixels;
thread_local Workspace<float> sums_and_zeros;

// Ask the kernel for leave to use the tile registers, once for the process (XTILEDATA is 18).
bool IsAllowed() {
  constexpr int kRequestPermission = 0x1023;
  static const bool is_allowed = syscall(SYS_arch_prctl, kRequestPermission, 18) == 0;
  return is_allowed;
}

// While one lives, all eight tiles of this thread have their full size.
class Tiles {
 public:
  Tiles() {
    alignas(64) uint8_t config[64] = {1};  // Palette 1; then bytes in a row at 16, rows at 48.
    for (int i = 0; i < 8; i++) {
      config[16 + 2 * i] = 64;
      config[48 + i] = kTile;
    }
    _tile_loadconfig(config);
  }
  ~Tiles() { _tile_release(); }
};

// GCC does not know that a tile is loaded from memory: what was stored has to be there by then.
void Settle() { asm volatile("" ::: "memory"); }

using One = std::integral_constant<int, 1>;
using Two = std::integral_constant<int, 2>;

// Call ``square(number of tiles, first channel)`` for all channels, two tiles at a time.
template <typename Square>
void ForTiles(int channels, Square square) {
  int first = 0;
  for (; first + 2 * kTile <= channels; first += 2 * kTile) square(Two(), first);
  if (first < channels) square(One(), first);
}

// Rows of factors that hold so many.
int Depths(int factors) { return (factors + kDepth - 1) / kDepth; }

// The square of sums, from two rows of tiles; with a pitch of zero every row of a tile is the same.
template <int kRows, int kColumns>
void LoadSums(const float* upper, const float* lower, size_t pitch) {
  _tile_loadd(0, upper, pitch);
  if constexpr (kColumns == 2) _tile_loadd(1, upper + kTile, pitch);
  if constexpr (kRows == 2) _tile_loadd(2, lower, pitch);
  if constexpr (kRows * kColumns == 4) _tile_loadd(3, lower + kTile, pitch);
}

template <int kRows, int kColumns>
void StoreSums(float* upper, float* lower, size_t pitch) {
  _tile_stored(0, upper, pitch);
  if constexpr (kColumns == 2) _tile_stored(1, upper + kTile, pitch);
  if constexpr (kRows == 2) _tile_stored(2, lower, pitch);
  if constexpr (kRows * kColumns == 4) _tile_stored(3, lower + kTile, pitch);
}

// Add the products of two tiles above each other with two beside each other; pitches in bytes.
template <int kRows, int kColumns>
inline void AddToSums(const uint16_t* upper, const uint16_t* lower, size_t pitch,
                      const uint16_t* left, const uint16_t* right, size_t second_pitch) {
  _tile_loadd(4, upper, pitch);
  _tile_loadd(6, left, second_pitch);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (kColumns == 2) {
    _tile_loadd(7, right, second_pitch);
    _tile_dpbf16ps(1, 4, 7);
  }
  if constexpr (kRows == 2) {
    _tile_loadd(5, lower, pitch);
    _tile_dpbf16ps(2, 5, 6);
  }
  if constexpr (kRows * kColumns == 4) _tile_dpbf16ps(3, 5, 7);
}

struct Shape {
  int images, height, width;
  size_t pixels() const { return static_cast<size_t>(height) * width; }
};

__m256i Round(__m512 values) { return (__m256i)_mm512_cvtneps_pbh(values); }

// Two rows of factors side by side, as the second factor of a product has them: a0 b0 a1 b1 ...
__m512i Interleave(__m512 a, __m512 b) {
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(Round(b)), 16);
  return _mm512_or_si512(_mm512_cvtepu16_epi32(Round(a)), high);
}

// Transpose 16 x 16 numbers of 32 bits.
void Transpose(__m512i* rows) {
  __m512i t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++) {
    rows[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    rows[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    t[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    rows[i] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    rows[i + 4] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
    rows[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
  }
}

// The numbers at ``from``; zeros where a rectified output was not above zero, if there is one.
__m512 Load(const float* from, const float* outputs) {
  if (outputs == nullptr) return _mm512_loadu_ps(from);
  const __m512 zero = _mm512_setzero_ps();
  return _mm512_maskz_loadu_ps(_mm512_cmp_ps_mask(_mm512_loadu_ps(outputs), zero, _CMP_GT_OQ),
                               from);
}

__m512 Sigmoid(__m512 x) {
  // exp(-x) = 2^n exp(r), |r| <= log(2) / 2; the polynomial is that of Cephes.
  __m512 y = _mm512_sub_ps(_mm512_setzero_ps(), x);
  y = _mm512_min_ps(_mm512_set1_ps(87), y);  // In this order NaN stays NaN.
  y = _mm512_max_ps(_mm512_set1_ps(-87), y);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(y, _mm512_set1_ps(1.44269504f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), y);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                        0.5f, 1.0f, 1.0f})
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
  const __m512 one = _mm512_set1_ps(1);
  return _mm512_div_ps(one, _mm512_add_ps(one, _mm512_scalef_ps(p, n)));
}

// Round an image into [height + 2][width + 2][channels], with zeros around.
void Pad(const float* image, const float* outputs, const Shape& shape, int channels,
         uint16_t* out) {
  const size_t row = static_cast<size_t>(shape.width) * channels;
  const size_t padded = row + 2 * channels;
  std::memset(out, 0, padded * sizeof(*out));
  std::memset(out + (shape.height + 1) * padded, 0, padded * sizeof(*out));
  for (int y = 0; y < shape.height; y++) {
    uint16_t* to = out + (y + 1) * padded;
    std::memset(to, 0, channels * sizeof(*out));
    std::memset(to + channels + row, 0, channels * sizeof(*out));
    for (size_t i = 0; i < row; i += kTile) {
      const size_t at = y * row + i;
      const __m512 values = Load(image + at, outputs == nullptr ? nullptr : outputs + at);
      _mm256_storeu_si256((__m256i*)(to + channels + i), Round(values));
    }
  }
}

// How many numbers `Pack` writes.
size_t Packed(int parts, int in, int out) {
  return static_cast<size_t>(parts) * Depths(in) * kDepth * out;
}

// Round a kernel [parts][in][out] into tiles [part][in / 32][out / 16] of 16 pairs of inputs, with
// zeros after the last.
void Pack(const float* kernel, int parts, int in, int out, uint16_t* tiles) {
  for (int part = 0; part < parts; part++, kernel += static_cast<size_t>(in) * out)
    for (int row = 0; row < in; row += kDepth)
      for (int column = 0; column < out; column += kTile)
        for (int pair = 0; pair < kTile; pair++, tiles += kDepth) {
          const float* from = kernel + static_cast<size_t>(row + 2 * pair) * out + column;
          __m512i factors = _mm512_setzero_si512();
          if (row + 2 * pair < in)
            factors = Interleave(_mm512_loadu_ps(from), _mm512_loadu_ps(from + out));
          _mm512_storeu_si512(tiles, factors);
        }
}

// Round 16 pixels of 16 channels and give each channel a row of its own.
void RoundTransposed(const float* pixels, int channels, uint16_t* to, size_t pitch) {
  __m512i block[kTile];
  for (int j = 0; j < kTile; j++) block[j] = _mm512_loadu_si512(pixels + j * channels);
  Transpose(block);
  for (int j = 0; j < kTile; j++)
    _mm256_storeu_si256((__m256i*)(to + j * pitch), Round((__m512)block[j]));
}

// Convolve with zeros around and add the bias; rectify. Inputs whose ``mask`` is not above zero
// count as zero. Sums: 16 columns of two rows, by 32 output channels. The three columns of a
// kernel's row read 3 * in numbers that follow each other.
void Convolve(const float* images, const float* mask, const float* kernel, const float* bias,
              bool is_rectified, Shape shape, int in, int out, float* result) {
  constexpr int kNumbers = kTile * kDepth;
  const int factors = 3 * in;
  uint16_t* packed = second_factor.Get(Packed(3, factors, out));
  Pack(kernel, 3, factors, out, packed);
  const size_t row = static_cast<size_t>(shape.width + 2) * in;
  const size_t padded_size = (shape.height + 2) * row;
  uint16_t* padded = first_factor.Get(padded_size + kDepth);
  std::memset(padded + padded_size, 0, kDepth * sizeof(*padded));
  for (int i = 0; i < shape.images; i++) {
    const size_t first = i * shape.pixels() * in;
    Pad(images + first, mask == nullptr ? nullptr : mask + first, shape, in, padded);
    Settle();
    for (int y = 0; y < shape.height; y += 2)
      for (int x = 0; x < shape.width; x += kTile) {
        float* to = result + (i * shape.pixels() + static_cast<size_t>(y) * shape.width + x) * out;
        float* next_row = to + static_cast<size_t>(shape.width) * out;
        ForTiles(out, [&](auto columns, int channel) {
          LoadSums<2, columns()>(bias + channel, bias + channel, 0);
          const uint16_t* factor = packed + channel / kTile * kNumbers;
          for (int taps = 0; taps < 3; taps++) {
            const uint16_t* from = padded + (y + taps) * row + static_cast<size_t>(x) * in;
            for (int c = 0; c < factors; c += kDepth, factor += out / kTile * kNumbers)
              AddToSums<2, columns()>(from + c, from + row + c, in * sizeof(*from), factor,
                                      factor + kNumbers, 64);
          }
          StoreSums<2, columns()>(to + channel, next_row + channel, out * sizeof(*result));
          if (!is_rectified) return;
          for (float* of_row : {to, next_row})
            for (int j = 0; j < kTile; j++)
              for (int c = channel; c < channel + columns() * kTile; c += kTile) {
                float* at = of_row + j * out + c;
                // The number comes second, because that is what the maximum takes of NaN.
                _mm512_storeu_ps(at, _mm512_max_ps(_mm512_setzero_ps(), _mm512_loadu_ps(at)));
              }
        });
      }
  }
}

// Add to ``result`` [in][out] the sums of products of planes [in], ``plane`` apart, and of pairs of
// pixels [pixels / 2][out][2], over all pixels. Sums: 32 input channels by 32 output channels.
void AddProducts(const uint16_t* planes, size_t plane, const uint16_t* pairs, size_t pixels, int in,
                 int out, float* result) {
  Settle();
  const size_t pitch = out * sizeof(*result);
  ForTiles(in, [&](auto rows, int a) {
    ForTiles(out, [&](auto columns, int b) {
      float* upper = result + static_cast<size_t>(a) * out + b;
      float* lower = upper + kTile * out;
      LoadSums<rows(), columns()>(upper, lower, pitch);
      const uint16_t* from = planes + a * plane;
      const uint16_t* factor = pairs + 2 * b;
      for (size_t p = 0; p < pixels; p += kDepth)
        AddToSums<rows(), columns()>(from + p, from + kTile * plane + p, plane * sizeof(*from),
                                     factor + p * out, factor + p * out + kDepth, pitch);
      StoreSums<rows(), columns()>(upper, lower, pitch);
    });
  });
}

// Sum the products of inputs and gradients [tap][in][out], and the gradients [out], over the pixels
// of all images. Gradients whose ``mask`` is not above zero count as zero.
//
// Each channel of the inputs becomes a plane of padded rows, one after the other, and so do the
// gradients: then a tap is an offset, and pixels are the factors' common index, 32 of them at once.
void SumProducts(const float* inputs, const float* gradient, const float* mask, Shape shape, int in,
                 int out, float* result, float* for_bias) {
  const size_t row = shape.width + 2;
  const size_t pixels = (shape.height * row + kDepth - 1) / kDepth * kDepth;
  const size_t plane = pixels + 3 * row + kDepth;  // The last taps read, times zero, so far.
  uint16_t* planes = first_factor.Get(plane * in);
  uint16_t* pairs = second_factor.Get(pixels * out);
  std::memset(planes, 0, plane * in * sizeof(*planes));
  std::memset(pairs, 0, pixels * out * sizeof(*pairs));
  std::memset(result, 0, static_cast<size_t>(kTaps) * in * out * sizeof(*result));
  std::memset(for_bias, 0, out * sizeof(*for_bias));
  for (int i = 0; i < shape.images; i++) {
    for (int y = 0; y < shape.height; y++)
      for (int x = 0; x < shape.width; x += kTile) {
        const size_t pixel = i * shape.pixels() + static_cast<size_t>(y) * shape.width + x;
        for (int c = 0; c < in; c += kTile)
          RoundTransposed(inputs + pixel * in + c, in, planes + c * plane + (y + 1) * row + x + 1,
                          plane);
        for (int j = 0; j < kTile; j += 2)
          for (int c = 0; c < out; c += kTile) {
            const size_t at = (pixel + j) * out + c;
            const __m512 a = Load(gradient + at, mask == nullptr ? nullptr : mask + at);
            const __m512 b = Load(gradient + at + out, mask == nullptr ? nullptr : mask + at + out);
            _mm512_storeu_si512(pairs + (y * row + x + j) * out + 2 * c, Interleave(a, b));
            const __m512 total = _mm512_add_ps(_mm512_loadu_ps(for_bias + c), _mm512_add_ps(a, b));
            _mm512_storeu_ps(for_bias + c, total);
          }
      }
    for (int tap = 0; tap < kTaps; tap++)
      AddProducts(planes + tap / 3 * row + tap % 3, plane, pairs, pixels, in, out,
                  result + static_cast<size_t>(tap) * in * out);
  }
}

// Multiply 32 pixels [in], and a row of factors more, by packed tiles and add the bias: [32][out].
void Multiply(const uint16_t* pixels, const uint16_t* packed, const float* bias, int in, int out,
              float* result) {
  Settle();
  constexpr int kNumbers = kTile * kDepth;
  ForTiles(out, [&](auto columns, int channel) {
    LoadSums<2, columns()>(bias + channel, bias + channel, 0);
    const uint16_t* factor = packed + channel / kTile * kNumbers;
    for (int c = 0; c < in; c += kDepth, factor += out / kTile * kNumbers)
      AddToSums<2, columns()>(pixels + c, pixels + kTile * in + c, in * sizeof(*pixels), factor,
                              factor + kNumbers, 64);
    StoreSums<2, columns()>(result + channel, result + kTile * out + channel,
                            out * sizeof(*result));
  });
}

// Memory for 32 pixels, with zeros after them.
uint16_t* RoundedPixels(size_t numbers) {
  uint16_t* rounded = rounded_pixels.Get(numbers + kDepth);
  std::memset(rounded + numbers, 0, kDepth * sizeof(*rounded));
  return rounded;
}

void RoundAll(const float* from, size_t numbers, uint16_t* to) {
  for (size_t i = 0; i < numbers; i += kTile)
    _mm256_storeu_si256((__m256i*)(to + i), Round(_mm512_loadu_ps(from + i)));
}

// shortcut + factor * features * sigmoid(features kernel + bias), 32 pixels at a time.
void Gate(const float* shortcut, const float* features, const float* kernel, const float* bias,
          float factor, size_t pixels, int channels, float* result) {
  const size_t block = static_cast<size_t>(kDepth) * channels;
  uint16_t* packed = packed_kernels.Get(Packed(1, channels, channels));
  uint16_t* rounded = RoundedPixels(block);
  float* logits = sums_and_zeros.Get(block);
  Pack(kernel, 1, channels, channels, packed);
  for (size_t first = 0; first < pixels * channels; first += block) {
    RoundAll(features + first, block, rounded);
    Multiply(rounded, packed, bias, channels, channels, logits);
    for (size_t i = 0; i < block; i += kTile) {
      const __m512 gate = _mm512_mul_ps(_mm512_set1_ps(factor), Sigmoid(_mm512_loadu_ps(logits + i)));
      const __m512 value = _mm512_loadu_ps(features + first + i);
      _mm512_storeu_ps(result + first + i,
                       _mm512_fmadd_ps(gate, value, _mm512_loadu_ps(shortcut + first + i)));
    }
  }
}

// The gradients of `Gate` to features, kernel and bias.
void DifferentiateGate(const float* features, const float* kernel, const float* transposed,
                       const float* bias, const float* gradient, float factor, size_t pixels,
                       int channels, float* for_features, float* for_kernel, float* for_bias) {
  constexpr size_t kChunk = 16 * kDepth;  // Pixels of one sum of products.
  const size_t block = static_cast<size_t>(kDepth) * channels;
  const size_t square = static_cast<size_t>(channels) * channels;
  const size_t packed_size = Packed(1, channels, channels);
  uint16_t* packed = packed_kernels.Get(2 * packed_size);
  uint16_t* rounded = RoundedPixels(block);
  uint16_t* planes = first_factor.Get(kChunk * channels);
  uint16_t* pairs = second_factor.Get(kChunk * channels);
  float* logits = sums_and_zeros.Get(block + channels);
  float* zeros = logits + block;
  Pack(kernel, 1, channels, channels, packed);
  Pack(transposed, 1, channels, channels, packed + packed_size);
  std::memset(zeros, 0, channels * sizeof(*zeros));
  std::memset(for_kernel, 0, square * sizeof(*for_kernel));
  std::memset(for_bias, 0, channels * sizeof(*for_bias));
  for (size_t start = 0; start < pixels; start += kChunk) {
    const size_t length = std::min(kChunk, pixels - start);
    for (size_t p = 0; p < length; p += kDepth) {
      const size_t first = (start + p) * channels;
      RoundAll(features + first, block, rounded);
      Multiply(rounded, packed, bias, channels, channels, logits);
      for (size_t i = 0; i < block; i += kTile) {  // Logits become the gradients to them.
        const __m512 gate = Sigmoid(_mm512_loadu_ps(logits + i));
        const __m512 passed = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(factor), gate),
                                            _mm512_loadu_ps(gradient + first + i));
        const __m512 value = _mm512_loadu_ps(features + first + i);
        const __m512 for_logit = _mm512_mul_ps(_mm512_fnmadd_ps(passed, gate, passed), value);
        _mm512_storeu_ps(for_features + first + i, passed);
        _mm512_storeu_ps(logits + i, for_logit);
        float* total = for_bias + i % channels;
        _mm512_storeu_ps(total, _mm512_add_ps(_mm512_loadu_ps(total), for_logit));
      }
      for (int j = 0; j < kDepth; j += 2)
        for (int c = 0; c < channels; c += kTile) {
          const float* from = logits + j * channels + c;
          _mm512_storeu_si512(
              pairs + (p + j) * channels + 2 * c,
              Interleave(_mm512_loadu_ps(from), _mm512_loadu_ps(from + channels)));
        }
      for (int j = 0; j < kDepth; j += kTile)
        for (int c = 0; c < channels; c += kTile)
          RoundTransposed(features + first + j * channels + c, channels,
                          planes + c * kChunk + p + j, kChunk);
      RoundAll(logits, block, rounded);
      Multiply(rounded, packed + packed_size, zeros, channels, channels, logits);
      for (size_t i = 0; i < block; i += kTile) {
        float* total = for_features + first + i;
        _mm512_storeu_ps(total, _mm512_add_ps(_mm512_loadu_ps(total), _mm512_loadu_ps(logits + i)));
      }
    }
    AddProducts(planes, kChunk, pairs, length, channels, channels, for_kernel);
  }
}

using Array = ffi::Buffer<ffi::F32, 4>;
using Vector = ffi::Buffer<ffi::F32, 1>;

// Images [b h w in], a kernel [n n in out], a bias [out] and images [b h w out].
ffi::Error Check(const Array& images, const Array& kernel, const Vector& bias, const Array& others,
                 int side) {
  const auto size = images.dimensions(), taps = kernel.dimensions(), other = others.dimensions();
  if (taps[0] != side || taps[1] != side || taps[2] != size[3] || taps[3] != other[3] ||
      bias.dimensions()[0] != other[3] || size[0] != other[0] || size[1] != other[1] ||
      size[2] != other[2])
    return ffi::Error::InvalidArgument("AMX: the shapes do not belong together");
  if (size[1] % 2 || size[2] % kTile || taps[2] % kTile || taps[3] % kTile)
    return ffi::Error::InvalidArgument(
        "AMX: rows must be even, columns and channels multiples of 16");
  if (!IsAllowed()) return ffi::Error::Internal("AMX: the system does not allow it");
  return ffi::Error::Success();
}

Shape ShapeOf(const Array& images) {
  const auto size = images.dimensions();
  return {static_cast<int>(size[0]), static_cast<int>(size[1]), static_cast<int>(size[2])};
}

ffi::Error CallConvolve(Array images, Array kernel, Vector bias, bool is_rectified,
                        ffi::Result<Array> result) {
  if (ffi::Error error = Check(images, kernel, bias, *result, 3); error.failure()) return error;
  const Tiles tiles;
  const int in = kernel.dimensions()[2], out = kernel.dimensions()[3];
  Convolve(images.typed_data(), nullptr, kernel.typed_data(), bias.typed_data(), is_rectified,
           ShapeOf(images), in, out, result->typed_data());
  return ffi::Error::Success();
}

// ``turned`` is the kernel turned around, [3 3 out in]; ``outputs`` are read if they are rectified.
ffi::Error CallDifferentiateConvolution(Array images, Array turned, Array outputs, Array gradient,
                                        bool is_rectified, ffi::Result<Array> for_images,
                                        ffi::Result<Array> for_kernel, ffi::Result<Vector> for_bias) {
  const int in = images.dimensions()[3], out = gradient.dimensions()[3];
  const auto taps = turned.dimensions();
  if (ffi::Error error = Check(images, *for_kernel, *for_bias, gradient, 3); error.failure())
    return error;
  if (taps[0] != 3 || taps[1] != 3 || taps[2] != out || taps[3] != in ||
      outputs.element_count() != gradient.element_count() ||
      for_images->element_count() != images.element_count())
    return ffi::Error::InvalidArgument("AMX: the shapes do not belong together");
  const Tiles tiles;
  const float* mask = is_rectified ? outputs.typed_data() : nullptr;
  float* zeros = sums_and_zeros.Get(in);
  std::memset(zeros, 0, in * sizeof(*zeros));
  Convolve(gradient.typed_data(), mask, turned.typed_data(), zeros, false, ShapeOf(images), out, in,
           for_images->typed_data());
  SumProducts(images.typed_data(), gradient.typed_data(), mask, ShapeOf(images), in, out,
              for_kernel->typed_data(), for_bias->typed_data());
  return ffi::Error::Success();
}

ffi::Error CallGate(Array shortcut, Array features, Array kernel, Vector bias, float factor,
                    ffi::Result<Array> result) {
  if (ffi::Error error = Check(features, kernel, bias, *result, 1); error.failure()) return error;
  if (shortcut.element_count() != features.element_count())
    return ffi::Error::InvalidArgument("AMX: the shapes do not belong together");
  const Tiles tiles;
  const int channels = kernel.dimensions()[3];
  Gate(shortcut.typed_data(), features.typed_data(), kernel.typed_data(), bias.typed_data(), factor,
       features.element_count() / channels, channels, result->typed_data());
  return ffi::Error::Success();
}

ffi::Error CallDifferentiateGate(Array features, Array kernel, Array transposed, Vector bias,
                                 Array gradient, float factor, ffi::Result<Array> for_features,
                                 ffi::Result<Array> for_kernel, ffi::Result<Vector> for_bias) {
  if (ffi::Error error = Check(features, kernel, bias, gradient, 1); error.failure()) return error;
  if (kernel.dimensions()[2] != kernel.dimensions()[3] ||
      for_features->element_count() != features.element_count() ||
      transposed.element_count() != kernel.element_count() ||
      for_kernel->element_count() != kernel.element_count() ||
      for_bias->element_count() != bias.element_count())
    return ffi::Error::InvalidArgument("AMX: the shapes do not belong together");
  const Tiles tiles;
  const int channels = kernel.dimensions()[3];
  DifferentiateGate(features.typed_data(), kernel.typed_data(), transposed.typed_data(),
                    bias.typed_data(), gradient.typed_data(), factor,
                    features.element_count() / channels, channels, for_features->typed_data(),
                    for_kernel->typed_data(), for_bias->typed_data());
  return ffi::Error::Success();
}

}  // namespace

extern "C" bool HyperfuncIsAllowed() { return IsAllowed(); }

XLA_FFI_DEFINE_HANDLER_SYMBOL(HyperfuncConvolve, CallConvolve,
                              ffi::Ffi::Bind()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Vector>()
                                  .Attr<bool>("is_rectified")
                                  .Ret<Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(HyperfuncDifferentiateConvolution, CallDifferentiateConvolution,
                              ffi::Ffi::Bind()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Attr<bool>("is_rectified")
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Ret<Vector>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(HyperfuncGate, CallGate,
                              ffi::Ffi::Bind()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Vector>()
                                  .Attr<float>("factor")
                                  .Ret<Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(HyperfuncDifferentiateGate, CallDifferentiateGate,
                              ffi::Ffi::Bind()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Vector>()
                                  .Arg<Array>()
                                  .Attr<float>("factor")
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Ret<Vector>());
