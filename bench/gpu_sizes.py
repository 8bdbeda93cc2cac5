"""How large what bench/gpu measures is: on a GPU, and in a rehearsal on the CPU."""


class Sizes:
    """What is measured; and of a rehearsal."""

    def __init__(self, rehearsal):
        self.device = "cpu" if rehearsal else "cuda"
        self.tests = (
            ("test_kernels", "--gtest_filter=Rotary*"),
            ("test_fold", "--gtest_filter=EndMatrix*"),
        )
        self.llama, self.large = {}, {"num_hidden_layers": 4, "vocab_size": 8192}
        self.sequences, self.context = 8, 2048
        self.square, self.copied = 8192, 1 << 30
        self.vocabularies = (128256, 262144)
        self.grid, self.room = "grid", 16e9
        self.rounds = 7  # that a median is of
        self.sample = 24  # submodels that are timed one by one
        self.held = 8192  # tokens that the device's scores and the CPU's are held against each other on
        if not rehearsal:
            programs = ("test_kernels_cuda", "test_fold_cuda", "test_readout_cuda")
            self.tests = tuple((program,) for program in programs)
            return
        small = {"hidden_size": 64, "head_dim": 16, "num_attention_heads": 4}
        small |= {"num_key_value_heads": 2, "vocab_size": 512, "num_hidden_layers": 2}
        widths = [16, 32, 64, 128]
        small |= {"intermediate_size": 128, "matformer_granularities": widths}
        self.llama = self.large = small
        self.sequences, self.context = 2, 64
        self.square, self.copied = 64, 1 << 20
        self.vocabularies = (1000, 2000)
        self.grid, self.room = "uniform", 1e8
        self.rounds, self.sample, self.held = 1, 4, 256
