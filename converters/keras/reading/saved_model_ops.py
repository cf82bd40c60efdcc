"""TensorFlow operators that a SavedModel may hold without being trusted: they compute, or keep state of the process.

None of them reads or writes a file, prints, runs Python or speaks to another process.
"""

_MATH = """
    Abs Acos Acosh Add AddN AddV2 Angle ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh BatchMatMul
    BatchMatMulV2 BatchMatMulV3 BesselI0 BesselI0e BesselI1 BesselI1e Betainc Bincount BitwiseAnd BitwiseOr
    BitwiseXor Bucketize Ceil Cholesky CholeskyGrad ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod
    Cumsum CumulativeLogsumexp DenseBincount Digamma Div DivNoNan Einsum Equal Erf Erfc Erfinv EuclideanNorm Exp
    Expm1 FFT FFT2D Floor FloorDiv FloorMod Greater GreaterEqual IFFT IFFT2D IRFFT IRFFT2D Igamma Igammac Imag
    Inv Invert IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogMatrixDeterminant
    LogicalAnd LogicalNot LogicalOr MatMul MatrixDeterminant MatrixInverse MatrixSolve MatrixTriangularSolve Max
    Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Prod Qr
    RFFT RFFT2D Real RealDiv Reciprocal RightShift Rint Round Rsqrt SegmentMax SegmentMean SegmentMin
    SegmentProd SegmentSum SelfAdjointEigV2 Sign Sin Sinh Sqrt Square SquaredDifference Sub Sum Svd Tan Tanh
    TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Xdivy
    Xlog1py Xlogy Zeta All Any
"""
_NETWORK = """
    AvgPool AvgPool3D BiasAdd BiasAddV1 CTCGreedyDecoder Conv Conv2D Conv2DBackpropInput Conv3D
    Conv3DBackpropInput Conv3DBackpropInputV2 CudnnRNN CudnnRNNBackpropV3 CudnnRNNCanonicalToParamsV2
    CudnnRNNParamsSize CudnnRNNV2 CudnnRNNV3 DepthwiseConv2dNative Dilation2D Elu FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
    InTopK InTopKV2 L2Loss LRN LSTMBlockCell LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax
    QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 Relu Relu6 Selu Sigmoid Softmax
    SoftmaxCrossEntropyWithLogits Softplus Softsign SparseSoftmaxCrossEntropyWithLogits BiasAddGrad
    BroadcastGradientArgs EluGrad FusedBatchNormGradV3 LeakyReluGrad MaxPoolGrad ReluGrad Relu6Grad RsqrtGrad
    SeluGrad SigmoidGrad SoftplusGrad SqrtGrad TanhGrad Conv2DBackpropFilter AvgPoolGrad
"""
_SHAPE = """
    BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Cast Concat ConcatOffset ConcatV2 Const
    DataFormatDimMap DataFormatVecPermute DeepCopy DepthToSpace Diag DiagPart DynamicPartition DynamicStitch
    Empty EnsureShape ExpandDims ExtractImagePatches ExtractVolumePatches Fill Gather GatherNd GatherV2 Identity
    IdentityN InplaceUpdate InvertPermutation LowerBound MatrixBandPart MatrixDiag MatrixDiagPart
    MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3
    MirrorPad NthElement OneHot OnesLike Pack Pad PadV2 ParallelConcat ParallelDynamicStitch
    PlaceholderWithDefault PreventGradient Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd
    Select SelectV2 Shape ShapeN Size Slice Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV
    Squeeze StopGradient StridedSlice StridedSliceGrad TensorScatterAdd TensorScatterMax TensorScatterMin
    TensorScatterSub TensorScatterUpdate Tile TopK TopKV2 Transpose Unique UniqueV2 UniqueWithCounts Unpack
    UnravelIndex UpperBound Where ZerosLike
"""
_IMAGE = """
    AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression CropAndResize HSVToRGB
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppression NonMaxSuppressionV2
    NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 RGBToHSV ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor ScaleAndTranslate
"""
_SPARSE_AND_TEXT = """
    AsString DenseToDenseSetOperation RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse
    RaggedTensorToTensor RaggedTensorToVariant ReduceJoin RegexReplace SparseFillEmptyRows SparseReshape
    SparseMatMul SparseSegmentMean SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
    SparseSegmentSum SparseSegmentSumWithNumSegments SparseTensorDenseMatMul SparseToDense StaticRegexFullMatch
    StaticRegexReplace StringJoin StringLower StringSplit StringSplitV2 StringStrip StringToHashBucketFast
    StringToNumber StringUpper HashTableV2 MutableHashTableV2 InitializeTableV2 LookupTableExportV2
    LookupTableFindV2 LookupTableImportV2 LookupTableSizeV2
"""
_RANDOM = """
    Multinomial RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt RngReadAndSkip RngSkip
    StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform StatefulUniformInt StatelessMultinomial
    StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformInt StatelessRandomUniformIntV2
    StatelessRandomUniformV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""
_CONTROL = """
    Assert Case CheckNumerics ControlTrigger EmptyTensorList Enter Exit If LoopCond Merge NextIteration NoOp
    PartitionedCall Placeholder PlaceholderV2 RefEnter RefExit RefIdentity RefMerge RefNextIteration RefSwitch
    StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile Switch TensorArrayCloseV3
    TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3
    TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcatV2 TensorListElementShape
    TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack
    TensorListPushBack TensorListReserve TensorListResize TensorListScatterIntoExistingList TensorListScatterV2
    TensorListSetItem TensorListSplit TensorListStack While
"""
_VARIABLES = """
    Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp DestroyResourceOp
    DisableCopyOnRead IsVariableInitialized ReadVariableOp ResourceGather ResourceGatherNd ResourceScatterAdd
    ResourceScatterUpdate ResourceStridedSliceAssign VarHandleOp VarIsInitializedOp Variable VariableShape
    VariableV2
"""

PURE = frozenset(
    " ".join((_MATH, _NETWORK, _SHAPE, _IMAGE, _SPARSE_AND_TEXT, _RANDOM, _CONTROL, _VARIABLES)).split()
)

# The file operators of a checkpoint: in each SavedModel, in functions that loading it does not call.
CHECKPOINT = frozenset(["MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"])
