"""Names that the configuration of a Keras file may hold without being trusted: what computes numbers and nothing else.

Written out, not taken from the installed Keras: a version to come may add a class that acts.
"""

LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
    AugMix AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D
    BatchNormalization BatchNormalizationV1 BatchNormalizationV2 Bidirectional CategoryEncoding CenterCrop
    Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose
    Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D
    Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CuDNNGRU
    CuDNNLSTM CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding
    Equalization Flatten GRU GRUCell GRUV1 GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D
    GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization GroupQueryAttention GroupedQueryAttention HashedCrossing Hashing Identity InputLayer
    IntegerLookup LSTM LSTMCell LSTMV1 LayerNormalization LayerScale LeakyReLU LocallyConnected1D
    LocallyConnected2D Masking MaxNumBoundingBoxes MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D
    MaxPooling3D Maximum MelSpectrogram Minimum MixUp MultiHeadAttention Multiply Normalization PReLU Permute
    Pipeline RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter
    RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale
    RandomHeight RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
    RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape
    Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D SeparableConvolution1D
    SeparableConvolution2D SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D
    SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup Subtract SyncBatchNormalization
    TextVectorization ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)

MODELS = frozenset(["Functional", "Model", "Sequential"])

# What keras.ops does to symbolic tensors; not those that take functions, such as Map, Cond and WhileLoop.
OPERATIONS = frozenset(
    """
    Abs Absolute AdaptiveAveragePool AdaptiveMaxPool AffineTransform All AllClose Amax Amin Angle Any Append
    Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition Argsort Array
    ArraySplit AveragePool BatchNorm BinaryCrossentropy Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift
    BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo CDist CTCDecode CTCLoss Cast
    CategoricalCrossentropy Cbrt Ceil Celu Cholesky CholeskyInverse Clip Conj Conjugate Conv ConvTranspose
    ConvertToTensor Copy Corrcoef Correlate Cos Cosh CountNonzero CropImages Cross Cumprod Cumsum Deg2rad
    DepthToSpace DepthwiseConv Det Diag Diagflat Diagonal Diff Digitize Divide DivideNoNan DotProductAttention
    Dsplit Dstack Eig Eigh Einsum ElasticTransform Elu EmptyLike Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1
    ExtractPatches ExtractSequences FFT FFT2 Fabs Flip Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod Fold Full
    FullLike GaussianBlur Gcd Gelu Geomspace GetItem Glu Greater GreaterEqual HSVToRGB HardShrink HardSigmoid
    HardSilu HardTanh Heaviside Histogram Hsplit Hstack Hypot I0 IFFT2 IRFFT ISTFT Imag InTopK Inner Inv IsIn
    Isclose Isfinite Isinf Isnan Isneginf Isposinf Isreal Kron LayerNorm Lcm Ldexp LeakyRelu LeftShift Less
    LessEqual Linspace Log Log10 Log1p Log2 LogSigmoid LogSoftmax Logaddexp Logaddexp2 Logdet LogicalAnd
    LogicalNot LogicalOr LogicalXor Logspace Logsumexp Lstsq LuFactor MapCoordinates Matmul MatrixRank Max
    MaxPool Mean Median Meshgrid Min Mod Moments Moveaxis MultiHot NanToNum Nanargmax Nanargmin Nancumprod
    Nancumsum Nanmax Nanmean Nanmedian Nanmin Nanpercentile Nanprod Nanquantile Nanstd Nansum Nanvar Ndim
    Negative Nextafter Nonzero Norm Normalize NotEqual OneHot OnesLike Outer PSNR Pad PadImages Percentile
    PerspectiveTransform Pinv Polar Power Prod Ptp Qr Quantile RFFT RGBToGrayscale RGBToHSV RMSNorm Rad2deg
    Ravel Real Rearrange Reciprocal Relu Relu6 Repeat Resize RightShift Roll Rot90 Round Rsqrt SSIM STFT SVD
    SaturateCast ScaleAndTranslate Scatter ScatterUpdate SearchSorted SegmentMax SegmentMin SegmentProd
    SegmentSum Select Selu SeparableConv Sigmoid Sign Signbit Silu Sin Sinc Sinh Size Slice SliceUpdate Slogdet
    SobelEdges SoftShrink Softplus Softsign Solve SolveTriangular Sort SpaceToDepth
    SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Split Sqrt Square Squareplus Squeeze Stack
    Std StopGradient Sum Swapaxes Take TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold Tile TopK Trace
    Transpose Trapezoid Tril Triu TrueDivide Trunc Unfold Unique UnravelIndex Unstack Vander Var Vdot View
    ViewAsComplex ViewAsReal Vsplit Vstack Where ZerosLike
    """.split()
)

# Initializers, regularizers, constraints, dtype policies, quantizers, and the training of models within models.
PARTS = frozenset(
    """
    AbsMaxQuantizer Constant DTypePolicy DTypePolicyMap Float8QuantizationConfig FloatDTypePolicy GlorotNormal
    GlorotUniform HeNormal HeUniform IdentityInitializer Int4DTypePolicy Int4QuantizationConfig
    Int8QuantizationConfig L1 L1L2 L2 LecunNormal LecunUniform MaxNorm MinMaxNorm NonNeg Ones Orthogonal
    OrthogonalInitializer OrthogonalRegularizer Policy QuantizedDTypePolicy QuantizedFloat8DTypePolicy
    RandomNormal RandomUniform STFTInitializer SeedGenerator TruncatedNormal UnitNorm VarianceScaling Zeros
    Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion LossScaleOptimizer Muon Nadam RMSprop SGD
    CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay AUC
    Accuracy BinaryAccuracy BinaryFocalCrossentropy BinaryIoU CTC CategoricalAccuracy
    CategoricalFocalCrossentropy CategoricalHinge Circle CosineSimilarity Dice F1Score FBetaScore FalseNegatives
    FalsePositives Hinge Huber IoU KLDivergence LogCosh LogCoshError MeanAbsoluteError
    MeanAbsolutePercentageError MeanIoU MeanMetricWrapper MeanSquaredError MeanSquaredLogarithmicError OneHotIoU
    OneHotMeanIoU Poisson Precision PrecisionAtRecall R2Score Recall RecallAtPrecision RootMeanSquaredError
    SensitivityAtSpecificity SparseCategoricalAccuracy SparseTopKCategoricalAccuracy SpecificityAtSensitivity
    SquaredHinge TopKCategoricalAccuracy TrueNegatives TruePositives Tversky
    """.split()
)

# Values that the formats write as if they were classes.
VALUES = frozenset(
    "__keras_tensor__ __tensor__ __numpy__ __bytes__ __ellipsis__ __slice__ __tuple__ TensorShape InputSpec".split()
)

CLASSES = LAYERS | MODELS | OPERATIONS | PARTS | VALUES

ACTIVATIONS = frozenset(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus
    sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold ELU LeakyReLU PReLU ReLU Softmax
    ThresholdedReLU
    """.split()
)

FUNCTIONS = ACTIVATIONS | frozenset(
    """
    binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy categorical_crossentropy
    categorical_focal_crossentropy categorical_hinge circle cosine_similarity ctc dice hinge huber kl_divergence
    log_cosh mean_absolute_error mean_absolute_percentage_error mean_squared_error
    mean_squared_logarithmic_error poisson sparse_categorical_accuracy sparse_categorical_crossentropy
    sparse_top_k_categorical_accuracy squared_hinge top_k_categorical_accuracy tversky
    """.split()
)


def _named(prefix: str, names: str) -> set[str]:
    return {prefix + name for name in names.split()}


# What TFOpLambda layers of tf_keras may call, by TensorFlow's public names.
TENSORFLOW = frozenset(
    _named(
        "",
        """
        argsort batch_to_space bitcast boolean_mask broadcast_to cast clip_by_norm clip_by_value complex concat
        convert_to_tensor cumsum dynamic_partition dynamic_stitch einsum ensure_shape expand_dims
        extract_volume_patches eye fill gather gather_nd identity linspace matmul meshgrid norm one_hot ones
        ones_like pad range rank repeat reshape reverse reverse_sequence roll scatter_nd searchsorted
        sequence_mask shape size slice sort space_to_batch split squeeze stack stop_gradient strided_slice
        tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub
        tensor_scatter_nd_update tensordot tile transpose truncatediv truncatemod unique unstack where zeros
        zeros_like dtypes.cast dtypes.complex debugging.check_numerics
        """,
    )
    | _named("__operators__.", "add eq getitem ne")
    | _named(
        "math.",
        """
        abs accumulate_n acos acosh add add_n angle argmax argmin asin asinh atan atan2 atanh bincount ceil conj
        cos cosh count_nonzero cumprod cumsum cumulative_logsumexp digamma divide divide_no_nan equal erf erfc
        erfcinv erfinv exp expm1 floor floordiv floormod greater greater_equal igamma igammac imag in_top_k
        invert_permutation is_finite is_inf is_nan l2_normalize lbeta less less_equal lgamma log log1p
        log_sigmoid log_softmax logical_and logical_not logical_or logical_xor maximum minimum mod multiply
        multiply_no_nan ndtri negative nextafter not_equal polyval pow real reciprocal reciprocal_no_nan
        reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean reduce_min
        reduce_prod reduce_std reduce_sum reduce_variance rint round rsqrt scalar_mul segment_max segment_mean
        segment_min segment_prod segment_sum sigmoid sign sin sinh softmax softplus softsign sqrt square
        squared_difference subtract tan tanh top_k truediv unsorted_segment_max unsorted_segment_mean
        unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlog1py
        xlogy zero_fraction
        """,
    )
    | _named(
        "nn.",
        """
        atrous_conv2d avg_pool avg_pool1d avg_pool2d avg_pool3d batch_normalization bias_add conv1d
        conv1d_transpose conv2d conv2d_transpose conv3d conv3d_transpose conv_transpose convolution crelu
        depth_to_space depthwise_conv2d dilation2d dropout elu embedding_lookup erosion2d gelu l2_loss
        l2_normalize leaky_relu local_response_normalization log_softmax lrn max_pool max_pool1d max_pool2d
        max_pool3d max_pool_with_argmax moments normalize_moments pool relu relu6 selu separable_conv2d sigmoid
        sigmoid_cross_entropy_with_logits silu softmax softmax_cross_entropy_with_logits softplus softsign
        space_to_batch space_to_depth sparse_softmax_cross_entropy_with_logits swish tanh top_k weighted_moments
        zero_fraction
        """,
    )
    | _named(
        "linalg.",
        """
        adjoint band_part cholesky cholesky_solve cross det diag diag_part eigh eigvalsh einsum expm eye inv
        l2_normalize logdet lstsq matmul matrix_transpose matvec norm normalize pinv qr set_diag slogdet solve
        svd tensor_diag tensor_diag_part tensordot trace triangular_solve
        """,
    )
    | _named(
        "image.",
        """
        adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_saturation central_crop
        convert_image_dtype crop_and_resize crop_to_bounding_box extract_patches flip_left_right flip_up_down
        grayscale_to_rgb hsv_to_rgb image_gradients pad_to_bounding_box per_image_standardization resize
        resize_with_crop_or_pad resize_with_pad rgb_to_grayscale rgb_to_hsv rgb_to_yiq rgb_to_yuv rot90
        sobel_edges total_variation transpose yiq_to_rgb yuv_to_rgb
        """,
    )
    | _named(
        "signal.", "dct fft fft2d fftshift frame idct ifft ifftshift irfft overlap_and_add rfft rfft2d stft"
    )
    | _named("random.", "normal stateless_normal stateless_uniform truncated_normal uniform")
    | _named("bitwise.", "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift")
    | _named(
        "quantization.", "fake_quant_with_min_max_args fake_quant_with_min_max_vars quantize_and_dequantize"
    )
    | _named(
        "keras.activations.",
        "elu exponential gelu hard_sigmoid linear mish relu selu sigmoid softmax softplus softsign swish tanh",
    )
    | _named(
        "keras.backend.",
        """
        abs argmax argmin batch_dot batch_flatten cast clip concatenate cos dot elu epsilon equal exp
        expand_dims flatten gather greater greater_equal hard_sigmoid l2_normalize less less_equal log max
        maximum mean min minimum not_equal ones_like permute_dimensions pow prod relu repeat repeat_elements
        reshape resize_images reverse round sigmoid sign sin softmax softplus softsign sqrt square squeeze stack
        std sum tanh tile transpose var zeros_like
        """,
    )
)
