// What the legend says about the tiles on the screen.

const tellTime = (seconds) =>
  seconds < 100 ? `about ${Math.ceil(seconds)} s` : `about ${Math.round(seconds / 60)} min`;

// part: of a file that is saved, 0 to 1. seconds: that are left, see estimate.js.
const tellSaving = (part, seconds) =>
  part === 1 ? "100 %, finishing the file"
    : `${Math.floor(100 * part)} %, ${seconds === null ? "estimating the time" : `${tellTime(seconds)} left`}`;

// progress: of a sharpener. restores: whether the model corrects pixels. isLoaded: whether it runs.
const tellProgress = ({ done, wanted, isPart, seconds }, restores, isLoaded) => {
  if (!wanted) return "shown smaller, zoom in to sharpen";
  if (done < wanted) {
    const when = seconds ? `, ${tellTime(seconds)}` : isLoaded ? "" : ": loading the model";
    return `${restores ? "restoring" : "sharpening"} tile ${done + 1} of ${wanted}${when}`;
  }
  const state = restores ? isPart ? "restored, sharp" : "restored" : "sharp";
  return isPart ? `${state} in the middle, zoom in for the rest` : state;
};
