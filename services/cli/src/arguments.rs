//! What may be asked of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Fan a file out, fold the results back in order.
#[derive(Debug, Parser)]
#[command(name = "fanfold", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline on a file, on the threads of this machine, with no cloud.
    Local(Local),
    /// Say how a file would be cut into chunks, without processing it.
    Plan(Plan),
    /// Start a run on the stack: upload a file, or submit an object that is there.
    Run(StartArguments),
    /// List the latest runs.
    Runs(RunsArguments),
    /// Show one run: its state and reason, how far it is, its failed chunks.
    Show(ShowArguments),
    /// Follow a run to its end; its success is the exit status.
    Watch(WatchArguments),
    /// End a run that is under way: nothing of it is published.
    Cancel(CancelArguments),
    /// Apply, list or show the pipelines of the stack.
    #[command(subcommand)]
    Pipelines(PipelinesCommand),
    /// Apply, list or drain the Kubernetes clusters of the stack.
    #[command(subcommand)]
    Clusters(ClustersCommand),
    /// Show or change how often a destination is asked, by all runs together.
    Rate(RateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RateArguments {
    /// The destination: the name that stages give it, or PIPELINE/STAGE.
    pub(crate) destination: fanfold_domain::Destination,
    /// The rate from now on, such as 20/s, 0.5/s, 600/m: in force within two seconds, and until it is changed again or
    /// nobody asked for 60 days.
    pub(crate) rate: Option<fanfold_domain::Rate>,
    /// Print it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// A file, or an object as `s3://BUCKET/KEY`; nothing for a pipeline that reads ids, items or its own prefix.
    pub(crate) source: Option<String>,
    /// The pipeline; needed for all but a file. A file is uploaded under its prefix.
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// The key to upload a file to [default: the pipeline's prefix and the file's name].
    #[arg(long = "as", value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Two submissions of an object with the same key are one run [default: random].
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Follow the run to its end.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArguments {
    /// How many.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
    /// Print a line of JSON a run.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The run's id.
    pub(crate) run: String,
    /// Print all of it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// The run's id.
    pub(crate) run: String,
    /// Print the end as JSON, and no progress.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// The run's id.
    pub(crate) run: String,
    /// What the run will say of its end.
    #[arg(long, value_name = "TEXT", default_value = "cancelled by a person")]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PipelinesCommand {
    /// Apply documents: all are read before any is applied.
    Apply {
        /// Pipeline documents (YAML or JSON).
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List those of the table, and the stack's own.
    List {
        /// Print a line of JSON a pipeline.
        #[arg(long)]
        json: bool,
    },
    /// Print one as its canonical document.
    Show {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClustersCommand {
    /// Apply documents, each of one cluster: all are read before any is applied.
    Apply {
        /// Cluster documents (YAML or JSON).
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List them, with what keeps any from being given launches.
    List {
        /// Print a line of JSON a cluster.
        #[arg(long)]
        json: bool,
    },
    /// Give one no more launches.
    Drain {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Local {
    /// The file to process; the folder that stands for the bucket, for a pipeline that lists objects; none for one that
    /// reads ids or items.
    pub(crate) input: Option<PathBuf>,
    /// The pipeline's document (YAML or JSON). Its source's prefix and suffix say what of a folder is listed,
    /// and are not matched otherwise.
    #[arg(long, value_name = "FILE.yaml")]
    pub(crate) pipeline: PathBuf,
    /// Where the output appears, whole or not at all.
    #[arg(long, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Where bad records are listed, if there are any [default: OUT with `_Errors` added].
    #[arg(long, value_name = "ERR")]
    pub(crate) errors: Option<PathBuf>,
    /// The worker's package, as `scripts/build --with DIR` makes it: commands work in this folder, and programs are found
    /// in its `bin` and in it first.
    #[arg(long = "with", value_name = "DIR")]
    pub(crate) package: Option<PathBuf>,
    /// Chunks at once [default: the machine's processors].
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,
    /// What the source is called, so that derived ids are those of a run in the cloud.
    #[arg(long, value_name = "s3://BUCKET/KEY@VERSION")]
    pub(crate) source: Option<String>,
    /// One pass in one thread with no splitting: the baseline.
    #[arg(long, conflicts_with_all = ["jobs", "check"])]
    pub(crate) sequential: bool,
    /// Run both ways and compare, byte for byte: whether the program is record-wise.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The file to look at.
    pub(crate) file: PathBuf,
    /// The pipeline's document (YAML or JSON).
    #[arg(long, value_name = "FILE.yaml")]
    pub(crate) pipeline: PathBuf,
    /// Print the plan as JSON, every chunk with its byte range.
    #[arg(long)]
    pub(crate) json: bool,
}
